package host

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/tools/cache"
)

// Times of the publisher.
const (
	publishTimeout = 5 * time.Second
	retryMin       = 100 * time.Millisecond
	retryMax       = 5 * time.Second
)

// publisher keeps one Plugin object for each plugin of the host, and hears from them when
// a restart is asked for.
type publisher struct {
	host   *Host
	client dynamic.ResourceInterface
	all    dynamic.Interface
	owner  string // value of labelHost

	mu    sync.Mutex
	dirty map[string]bool
	wake  chan struct{}
	// restartedAt as last seen, by object.
	restartedAt map[string]string
}

func newPublisher(h *Host, client dynamic.Interface) *publisher {
	return &publisher{
		host: h, client: client.Resource(Resource()), all: client, owner: ownerOf(h.config.Node),
		dirty: map[string]bool{}, wake: make(chan struct{}, 1), restartedAt: map[string]string{},
	}
}

// ownerOf is the value of labelHost for a host on the given node. Names of nodes may be
// longer than values of labels.
func ownerOf(node string) string {
	if node == "" {
		return "server"
	}
	owner := "node." + node
	if len(owner) > validation.LabelValueMaxLength {
		sum := sha256.Sum256([]byte(node))
		owner = "node-" + hex.EncodeToString(sum[:16])
	}
	return owner
}

// notify says that a plugin's status has changed.
func (p *publisher) notify(name string) {
	p.mu.Lock()
	p.dirty[name] = true
	p.mu.Unlock()
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

func (p *publisher) take() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := make([]string, 0, len(p.dirty))
	for name := range p.dirty {
		out = append(out, name)
	}
	clear(p.dirty)
	return out
}

// run publishes until ctx is done, and then once more what is left.
func (p *publisher) run(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var watching sync.WaitGroup
	watching.Go(func() { p.watch(ctx) })
	defer watching.Wait()
	retry := time.NewTimer(0)
	<-retry.C
	wait := retryMin
	for {
		failed := p.publish(ctx, p.take())
		if failed {
			retry.Reset(wait)
			wait = min(2*wait, retryMax)
		} else {
			wait = retryMin
		}
		select {
		case <-p.wake:
		case <-retry.C:
		case <-ctx.Done():
			last, done := context.WithTimeout(context.WithoutCancel(ctx), publishTimeout/5)
			p.publish(last, p.take())
			done()
			return
		}
	}
}

// leads says whether this host is the one of those of its kind that publishes.
func (p *publisher) leads() bool {
	leading, _ := p.host.lead.get()
	return leading
}

// publish writes the objects of the named plugins. Those that fail are marked again. Of
// several hosts with the same plugins the one that leads publishes its own.
func (p *publisher) publish(ctx context.Context, names []string) (failed bool) {
	if !p.leads() {
		return false
	}
	for _, name := range names {
		s, err := p.host.plugin(name)
		if err != nil {
			continue
		}
		callCtx, cancel := context.WithTimeout(ctx, publishTimeout)
		err = p.write(callCtx, s)
		cancel()
		if err != nil {
			failed = true
			p.host.config.Logger.Debug("publish plugin", "plugin", name, "error", err)
			p.mu.Lock()
			p.dirty[name] = true
			p.mu.Unlock()
		}
	}
	return failed
}

func (p *publisher) write(ctx context.Context, s *supervisor) error {
	st := s.snapshot()
	status, err := json.Marshal(map[string]any{"status": statusTree(&st)})
	if err != nil {
		return err
	}
	_, err = p.client.Patch(ctx, st.Object, types.MergePatchType, status, metav1.PatchOptions{}, "status")
	if !apierrors.IsNotFound(err) {
		return err
	}
	if s.spec.Wish != nil && !s.spec.NodeScoped {
		return nil // somebody has deleted it: the plugin goes too
	}
	_, err = p.client.Create(ctx, &unstructured.Unstructured{Object: p.object(s, &st)}, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return err
	}
	_, err = p.client.Patch(ctx, st.Object, types.MergePatchType, status, metav1.PatchOptions{}, "status")
	return err
}

// object is a plugin's object without status.
func (p *publisher) object(s *supervisor, st *Status) map[string]any {
	entry := s.plan.current()
	return map[string]any{
		"apiVersion": Group + "/" + Version,
		"kind":       Kind,
		"metadata": map[string]any{
			"name":   st.Object,
			"labels": map[string]any{labelPlugin: st.Name, labelHost: p.owner},
		},
		"spec": specTree(&entry.Spec, p.host.config.Node),
	}
}

// watch follows the host's objects: it restarts plugins on request, removes objects that
// are no longer in the catalogue, and brings back those that were deleted or changed.
func (p *publisher) watch(ctx context.Context) {
	informer := dynamicinformer.NewFilteredDynamicInformer(p.all, Resource(), "", 0, cache.Indexers{},
		func(o *metav1.ListOptions) { o.LabelSelector = labelHost + "=" + p.owner }).Informer()
	_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { p.seen(ctx, o) },
		UpdateFunc: func(_, o any) { p.seen(ctx, o) },
		DeleteFunc: func(o any) {
			if d, ok := o.(cache.DeletedFinalStateUnknown); ok {
				o = d.Obj
			}
			if u, ok := o.(*unstructured.Unstructured); ok {
				p.notify(u.GetLabels()[labelPlugin])
			}
		},
	})
	if err != nil {
		p.host.config.Logger.Error("watch plugins", "error", err)
		return
	}
	informer.RunWithContext(ctx)
}

func (p *publisher) seen(ctx context.Context, o any) {
	u, ok := o.(*unstructured.Unstructured)
	if !ok {
		return
	}
	s, err := p.host.plugin(u.GetLabels()[labelPlugin])
	if err != nil || s.snapshot().Object != u.GetName() {
		if !p.leads() {
			return
		}
		if err := p.client.Delete(ctx, u.GetName(), metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
			p.host.config.Logger.Warn("remove plugin object", "object", u.GetName(), "error", err)
		}
		return
	}
	at, _, _ := unstructured.NestedString(u.Object, "spec", "restartedAt")
	p.mu.Lock()
	before, known := p.restartedAt[u.GetName()]
	p.restartedAt[u.GetName()] = at
	p.mu.Unlock()
	if known && at != "" && at != before {
		s.log.Info("restart was asked for", "at", at)
		if err := p.host.Restart(s.spec.Name); err != nil {
			s.log.Warn("restart", "error", err)
		}
	}
	p.correct(ctx, s, u)
}

// correct puts the host's own fields of spec right.
func (p *publisher) correct(ctx context.Context, s *supervisor, u *unstructured.Unstructured) {
	if !p.leads() {
		return
	}
	entry := s.plan.current()
	want := specTree(&entry.Spec, p.host.config.Node)
	have, _, _ := unstructured.NestedMap(u.Object, "spec")
	patch := map[string]any{}
	for k, v := range want {
		if a, b := mustJSON(v), mustJSON(have[k]); a != b {
			patch[k] = v
		}
	}
	for k := range have {
		if _, ok := want[k]; !ok && k != "restartedAt" {
			patch[k] = nil
		}
	}
	if len(patch) == 0 {
		return
	}
	body, err := json.Marshal(map[string]any{"spec": patch})
	if err == nil {
		_, err = p.client.Patch(ctx, u.GetName(), types.MergePatchType, body, metav1.PatchOptions{})
	}
	if err != nil && !apierrors.IsNotFound(err) {
		s.log.Warn("correct plugin object", "error", err)
	}
}

func mustJSON(v any) string {
	b, _ := json.Marshal(v)
	return string(b)
}
