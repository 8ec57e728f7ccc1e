package scheduling

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pintle-dev/pintle/sdk/plugin"
	pluginv1 "github.com/pintle-dev/pintle/sdk/proto/plugin/v1"
	"github.com/pintle-dev/pintle/sdk/protocol"
)

// Capabilities of the point: the parts that a plugin has.
const (
	CanFilter  = "filter"
	CanScore   = "score"
	CanReserve = "reserve"
	CanPermit  = "permit"
	CanBind    = "bind"
	CanStart   = "start"
	CanChange  = "changes"
)

// Point offers impl's parts in scheduling.
func Point(impl Extension) plugin.Point {
	p := protocol.NewPoint(protocol.PointScheduling, func(s grpc.ServiceRegistrar, h plugin.Host) {
		pluginv1.RegisterSchedulingServer(s, &server{impl: impl, host: h})
	})
	p.Capabilities = Parts(impl)
	return p
}

// Parts are the capabilities of an implementation.
func Parts(impl Extension) []string {
	var out []string
	if _, ok := impl.(Filter); ok {
		out = append(out, CanFilter)
	}
	if _, ok := impl.(Score); ok {
		out = append(out, CanScore)
	}
	if _, ok := impl.(Reserve); ok {
		out = append(out, CanReserve)
	}
	if _, ok := impl.(Permit); ok {
		out = append(out, CanPermit)
	}
	if _, ok := impl.(Bind); ok {
		out = append(out, CanBind)
	}
	if _, ok := impl.(Starter); ok {
		out = append(out, CanStart)
	}
	if _, ok := impl.(Changes); ok {
		out = append(out, CanChange)
	}
	return out
}

type server struct {
	pluginv1.UnimplementedSchedulingServer
	impl    Extension
	host    plugin.Host
	started atomic.Bool
}

// Describe implements pluginv1.SchedulingServer.
func (s *server) Describe(context.Context, *pluginv1.SchedulingDescribeRequest) (*pluginv1.SchedulingDescribeResponse, error) {
	c := s.impl.Concerns()
	out := &pluginv1.SchedulingDescribeResponse{
		SchedulerNames: c.SchedulerNames, Namespaces: c.Namespaces,
		Usage: c.Usage, PermitTimeoutMs: c.PermitTimeout.Milliseconds(),
	}
	if c.Selector != nil {
		selector, err := metav1.LabelSelectorAsSelector(c.Selector)
		if err != nil {
			return nil, protocol.PluginError(fmt.Errorf("the selector of the pods that concern it: %w", err))
		}
		if selector.Empty() {
			return out, nil
		}
		out.Selector = selector.String()
	}
	return out, nil
}

// Start implements pluginv1.SchedulingServer.
func (s *server) Start(ctx context.Context, r *pluginv1.SchedulingStartRequest) (*pluginv1.SchedulingStartResponse, error) {
	impl, ok := s.impl.(Starter)
	if !ok {
		return nil, status.Error(codes.Unimplemented, "it has no Start")
	}
	if !s.started.CompareAndSwap(false, true) {
		return nil, status.Error(codes.FailedPrecondition, "the plugin was already started in this process")
	}
	env, err := protocol.EnvironmentFromWire(r.GetEnvironment()).Env(s.host.Info(), s.host.Log)
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	if err := impl.Start(ctx, env); err != nil {
		return nil, protocol.PluginError(err)
	}
	return &pluginv1.SchedulingStartResponse{}, nil
}

// Evaluate implements pluginv1.SchedulingServer.
func (s *server) Evaluate(stream grpc.BidiStreamingServer[pluginv1.SchedulingEvaluateRequest, pluginv1.SchedulingEvaluateResponse]) error {
	var v view
	for {
		r, err := stream.Recv()
		if err != nil {
			return err
		}
		if err := v.update(r); err != nil {
			return status.Error(codes.InvalidArgument, err.Error())
		}
		out := &pluginv1.SchedulingEvaluateResponse{}
		ctx, cancel := stream.Context(), context.CancelFunc(func() {})
		if ms := r.GetTimeoutMs(); ms > 0 {
			ctx, cancel = context.WithTimeout(ctx, time.Duration(ms)*time.Millisecond)
		}
		for _, q := range r.GetPods() {
			e, err := s.evaluate(ctx, &v, q)
			if err != nil {
				e = &pluginv1.SchedulingEvaluation{Error: err.Error()}
			}
			out.Evaluations = append(out.Evaluations, e)
		}
		cancel()
		if err := stream.Send(out); err != nil {
			return err
		}
	}
}

// evaluate answers one question.
func (s *server) evaluate(ctx context.Context, v *view, q *pluginv1.SchedulingPod) (*pluginv1.SchedulingEvaluation, error) {
	pod, err := podFromWire(q.GetPod())
	if err != nil {
		return nil, err
	}
	nodes := make([]*Node, len(q.GetNodes()))
	for i, number := range q.GetNodes() {
		if nodes[i] = v.node(number); nodes[i] == nil {
			return nil, fmt.Errorf("node number %d was never told", number)
		}
	}
	out := &pluginv1.SchedulingEvaluation{}
	at := make([]int, 0, len(nodes)) // places in the question of the nodes that are left
	if f, ok := s.impl.(Filter); ok {
		verdicts, err := f.Filter(ctx, pod, nodes)
		if err != nil {
			return nil, err
		}
		if verdicts != nil && len(verdicts) != len(nodes) {
			return nil, fmt.Errorf("its filter gave %d verdicts on %d nodes", len(verdicts), len(nodes))
		}
		nodes, at = keep(out, q, nodes, verdicts, at)
	} else {
		for i := range nodes {
			at = append(at, i)
		}
	}
	if sc, ok := s.impl.(Score); ok && len(nodes) > 0 {
		scores, err := sc.Score(ctx, pod, nodes)
		if err != nil {
			return nil, err
		}
		if len(scores) != len(nodes) {
			return nil, fmt.Errorf("it gave %d scores for %d nodes", len(scores), len(nodes))
		}
		out.Scores = make([]int64, len(q.GetNodes()))
		for i, score := range scores {
			out.Scores[at[i]] = score
		}
	}
	return out, nil
}

// keep splits the nodes by their verdicts: refusals go to out, the others are returned, with
// their places.
func keep(out *pluginv1.SchedulingEvaluation, q *pluginv1.SchedulingPod, nodes []*Node, verdicts []Verdict, at []int) ([]*Node, []int) {
	left := nodes[:0]
	refusals := map[string]*pluginv1.SchedulingRefusal{}
	for i, n := range nodes {
		if verdicts == nil || verdicts[i].Reason == "" {
			left, at = append(left, n), append(at, i)
			continue
		}
		r := refusals[verdicts[i].Reason]
		if r == nil {
			r = &pluginv1.SchedulingRefusal{Reason: verdicts[i].Reason}
			refusals[verdicts[i].Reason] = r
			out.Refusals = append(out.Refusals, r)
		}
		r.Nodes = append(r.Nodes, q.GetNodes()[i])
	}
	return left, at
}

// Changes implements pluginv1.SchedulingServer.
func (s *server) Changes(_ *pluginv1.SchedulingChangesRequest, stream grpc.ServerStreamingServer[pluginv1.SchedulingChangesResponse]) error {
	impl, ok := s.impl.(Changes)
	if !ok {
		return status.Error(codes.Unimplemented, "it has no Changes")
	}
	ctx, cancel := context.WithCancel(stream.Context())
	defer cancel()
	changed := make(chan struct{}, 1) // what comes while one is sent is one more
	done := make(chan error, 1)
	go func() {
		done <- impl.Changes(ctx, func() {
			select {
			case changed <- struct{}{}:
			default:
			}
		})
	}()
	for {
		select {
		case <-changed:
			if err := stream.Send(&pluginv1.SchedulingChangesResponse{}); err != nil {
				return err
			}
		case err := <-done:
			if err != nil {
				return refusal(ctx, err)
			}
			select {
			case <-changed:
				return stream.Send(&pluginv1.SchedulingChangesResponse{})
			default:
				return nil
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Reserve implements pluginv1.SchedulingServer.
func (s *server) Reserve(ctx context.Context, r *pluginv1.SchedulingPlaceRequest) (*pluginv1.SchedulingReserveResponse, error) {
	impl, ok := s.impl.(Reserve)
	if !ok {
		return nil, status.Error(codes.Unimplemented, "it has no Reserve")
	}
	pod, err := podFromWire(r.GetPod())
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	if err := impl.Reserve(ctx, pod, r.GetNode()); err != nil {
		return nil, refusal(ctx, err)
	}
	return &pluginv1.SchedulingReserveResponse{}, nil
}

// Unreserve implements pluginv1.SchedulingServer.
func (s *server) Unreserve(ctx context.Context, r *pluginv1.SchedulingPlaceRequest) (*pluginv1.SchedulingUnreserveResponse, error) {
	impl, ok := s.impl.(Reserve)
	if !ok {
		return nil, status.Error(codes.Unimplemented, "it has no Unreserve")
	}
	pod, err := podFromWire(r.GetPod())
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	impl.Unreserve(ctx, pod, r.GetNode())
	return &pluginv1.SchedulingUnreserveResponse{}, nil
}

// Permit implements pluginv1.SchedulingServer.
func (s *server) Permit(ctx context.Context, r *pluginv1.SchedulingPlaceRequest) (*pluginv1.SchedulingPermitResponse, error) {
	impl, ok := s.impl.(Permit)
	if !ok {
		return nil, status.Error(codes.Unimplemented, "it has no Permit")
	}
	pod, err := podFromWire(r.GetPod())
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	if err := impl.Permit(ctx, pod, r.GetNode()); err != nil {
		return nil, refusal(ctx, err)
	}
	return &pluginv1.SchedulingPermitResponse{}, nil
}

// Bind implements pluginv1.SchedulingServer.
func (s *server) Bind(ctx context.Context, r *pluginv1.SchedulingPlaceRequest) (*pluginv1.SchedulingBindResponse, error) {
	impl, ok := s.impl.(Bind)
	if !ok {
		return nil, status.Error(codes.Unimplemented, "it has no Bind")
	}
	pod, err := podFromWire(r.GetPod())
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	switch err := impl.Bind(ctx, pod, r.GetNode()); {
	case errors.Is(err, ErrSkip):
		return &pluginv1.SchedulingBindResponse{Skipped: true}, nil
	case err != nil:
		return nil, refusal(ctx, err)
	}
	return &pluginv1.SchedulingBindResponse{}, nil
}

// refusal tells a plugin's refusal from a call that was given up.
func refusal(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return status.FromContextError(ctx.Err()).Err()
	}
	return protocol.PluginError(err)
}

func podFromWire(raw []byte) (*v1.Pod, error) {
	pod := &v1.Pod{}
	if err := json.Unmarshal(raw, pod); err != nil {
		return nil, fmt.Errorf("decode the pod: %w", err)
	}
	return pod, nil
}
