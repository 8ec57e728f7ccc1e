package eventttl

import (
	"context"
	"fmt"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/metadata"

	"github.com/pintle-dev/pintle/plugins/workloads/control"
)

const (
	// rounds is how many times within their life events are looked at.
	rounds = 12
	// page is how many events are read at a time.
	page = 500
)

var events = v1.SchemeGroupVersion.WithResource("events")

// Controller deletes events.
type Controller struct {
	kit   control.Kit
	meta  metadata.Interface
	ttl   time.Duration
	now   func() time.Time
	marks marks
}

// New returns the controller. Events live for ttl after they were last written, and up to a
// twelfth of it longer; those that are older than the controller live for up to ttl more.
func New(kit control.Kit, meta metadata.Interface, ttl time.Duration) *Controller {
	return &Controller{kit: kit, meta: meta, ttl: ttl, now: time.Now}
}

// Run works until ctx is cancelled.
func (c *Controller) Run(ctx context.Context) {
	ticker := time.NewTicker(c.ttl / rounds)
	defer ticker.Stop()
	for {
		if err := c.round(ctx); err != nil && ctx.Err() == nil {
			c.kit.Log.Warn("old events could not be deleted; it will be tried again", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// round reads the metadata of all events, page by page, and deletes the old ones. While nothing is
// known of their age it reads the newest revision only.
func (c *Controller) round(ctx context.Context) error {
	now := c.now()
	expired := c.marks.expired(now, c.ttl)
	options := metav1.ListOptions{Limit: page}
	if expired == 0 {
		options.Limit = 1
	}
	for first := true; ; first = false {
		list, err := c.meta.Resource(events).List(ctx, options)
		if err != nil {
			return fmt.Errorf("list events: %w", err)
		}
		if revision := revisionOf(list.ResourceVersion); first && revision > 0 {
			c.marks = c.marks.add(now, revision, c.ttl)
		}
		if expired == 0 {
			return nil
		}
		if err := c.remove(ctx, list.Items, expired); err != nil {
			return err
		}
		if options.Continue = list.Continue; options.Continue == "" {
			return nil
		}
	}
}

// remove deletes those of some events that are old, as long as nobody writes them anew.
func (c *Controller) remove(ctx context.Context, list []metav1.PartialObjectMetadata, expired uint64) error {
	var old []*metav1.PartialObjectMetadata
	for i := range list {
		if revision := revisionOf(list[i].ResourceVersion); revision > 0 && revision <= expired {
			old = append(old, &list[i])
		}
	}
	return control.Each(old, func(e *metav1.PartialObjectMetadata) error {
		err := c.meta.Resource(events).Namespace(e.Namespace).Delete(ctx, e.Name, metav1.DeleteOptions{
			Preconditions: &metav1.Preconditions{UID: &e.UID, ResourceVersion: &e.ResourceVersion},
		})
		if err == nil || apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
			return nil
		}
		return fmt.Errorf("delete event %s/%s: %w", e.Namespace, e.Name, err)
	})
}
