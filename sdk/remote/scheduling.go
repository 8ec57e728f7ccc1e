package remote

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pintle-dev/pintle/sdk/plugin"
	pluginv1 "github.com/pintle-dev/pintle/sdk/proto/plugin/v1"
	"github.com/pintle-dev/pintle/sdk/protocol"
	"github.com/pintle-dev/pintle/sdk/scheduling"
)

// Scheduling is a plugin's part in scheduling, as a scheduler asks it.
type Scheduling struct {
	*Client
	client   pluginv1.SchedulingClient
	concerns scheduling.Concerns
}

// Scheduling returns the plugin's part in scheduling, where it has one. It is asked here which
// pods concern it.
func (c *Client) Scheduling(ctx context.Context) (*Scheduling, bool, error) {
	if !c.offers(protocol.PointScheduling) {
		return nil, false, nil
	}
	s := &Scheduling{Client: c, client: pluginv1.NewSchedulingClient(c.conn)}
	if !slices.ContainsFunc(c.Capabilities(protocol.PointScheduling), func(p string) bool {
		return p != scheduling.CanStart && p != scheduling.CanChange
	}) {
		return nil, true, errors.New("it neither filters, scores, reserves, permits nor binds")
	}
	d, err := s.client.Describe(ctx, &pluginv1.SchedulingDescribeRequest{})
	if err != nil {
		return nil, true, unwire(err)
	}
	s.concerns = scheduling.Concerns{
		SchedulerNames: d.GetSchedulerNames(), Namespaces: d.GetNamespaces(), Usage: d.GetUsage(),
		PermitTimeout: min(time.Duration(d.GetPermitTimeoutMs())*time.Millisecond, scheduling.MaxPermitTimeout),
	}
	if s.concerns.PermitTimeout <= 0 {
		s.concerns.PermitTimeout = scheduling.DefaultPermitTimeout
	}
	if d.GetSelector() != "" {
		if s.concerns.Selector, err = metav1.ParseToLabelSelector(d.GetSelector()); err != nil {
			return nil, true, fmt.Errorf("selector %q of the pods that concern it: %w", d.GetSelector(), err)
		}
	}
	return s, true, nil
}

// Concerns are the pods about which it is asked.
func (s *Scheduling) Concerns() scheduling.Concerns { return s.concerns }

// Can reports whether the plugin has a part in scheduling, such as scheduling.CanScore.
func (s *Scheduling) Can(part string) bool {
	return slices.Contains(s.Capabilities(protocol.PointScheduling), part)
}

// Start gives the plugin its environment, where it wants one; env is not used.
func (s *Scheduling) Start(ctx context.Context, _ plugin.Env) error {
	if !s.Can(scheduling.CanStart) {
		return nil
	}
	env, err := s.environment()
	if err != nil {
		return err
	}
	_, err = s.client.Start(ctx, &pluginv1.SchedulingStartRequest{Environment: env})
	if err != nil {
		return unwire(err)
	}
	return nil
}

// Changes calls changed whenever refused pods should be asked about again. It returns when ctx
// is done, when the plugin is gone, or when it has nothing more to say: then without an error.
func (s *Scheduling) Changes(ctx context.Context, changed func()) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := s.client.Changes(ctx, &pluginv1.SchedulingChangesRequest{})
	if err != nil {
		return unwire(err)
	}
	for {
		switch _, err := stream.Recv(); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return unwire(err)
		}
		changed()
	}
}

// Placed is a pod and the node that was chosen for it.
type Placed struct {
	// Pod is the JSON of a v1 Pod.
	Pod  []byte
	Node string
}

// Place makes a Placed of a pod.
func Place(pod *v1.Pod, node string) (Placed, error) {
	raw, err := json.Marshal(pod)
	if err != nil {
		return Placed{}, fmt.Errorf("encode the pod: %w", err)
	}
	return Placed{Pod: raw, Node: node}, nil
}

func (p Placed) wire() *pluginv1.SchedulingPlaceRequest {
	return &pluginv1.SchedulingPlaceRequest{Pod: p.Pod, Node: p.Node}
}

// Reserve tells the plugin that a pod is about to be bound. The plugin's refusal is a
// *scheduling.Refused.
func (s *Scheduling) Reserve(ctx context.Context, p Placed) error {
	_, err := s.client.Reserve(ctx, p.wire())
	return refused(err)
}

// Unreserve takes Reserve back.
func (s *Scheduling) Unreserve(ctx context.Context, p Placed) error {
	_, err := s.client.Unreserve(ctx, p.wire())
	return refused(err)
}

// Permit returns when the pod may be bound. The plugin's refusal is a *scheduling.Refused.
func (s *Scheduling) Permit(ctx context.Context, p Placed) error {
	_, err := s.client.Permit(ctx, p.wire())
	return refused(err)
}

// Bind makes the plugin bind the pod; scheduling.ErrSkip where it does not.
func (s *Scheduling) Bind(ctx context.Context, p Placed) error {
	r, err := s.client.Bind(ctx, p.wire())
	if err == nil && r.GetSkipped() {
		return scheduling.ErrSkip
	}
	return refused(err)
}

// refused tells a plugin's refusal from a failure to reach it.
func refused(err error) error {
	switch {
	case err == nil:
		return nil
	case status.Code(err) == codes.Aborted:
		return &scheduling.Refused{Reason: status.Convert(err).Message()}
	default:
		return unwire(err)
	}
}
