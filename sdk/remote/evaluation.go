package remote

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/grpc"
	v1 "k8s.io/api/core/v1"

	pluginv1 "github.com/pintle-dev/pintle/sdk/proto/plugin/v1"
	"github.com/pintle-dev/pintle/sdk/scheduling"
)

// View is what a scheduler knows of nodes, by small numbers. What it points to is never
// changed: a node that has changed is another pointer, which is how an Evaluator finds what to
// send.
type View struct {
	// Nodes are nil where there is none.
	Nodes []*scheduling.Node
	// Usage is nil, or as long as Nodes.
	Usage []*scheduling.Usage
}

// Question asks about one pod.
type Question struct {
	// Pod is the JSON of a v1 Pod.
	Pod []byte
	// Nodes are the numbers of those that are asked about, ascending.
	Nodes []uint32
}

// Evaluation answers a question.
type Evaluation struct {
	// Refused has an entry for each node in the question: the reason, or empty.
	Refused []string
	// Scores has an entry for each node in the question, or none.
	Scores []int64
	// Err says that the plugin could not tell.
	Err error
}

// Evaluator asks a plugin about nodes, one request after the other, and remembers which nodes
// the plugin knows. When a request fails it starts anew with the next. It is not safe for
// concurrent use.
type Evaluator struct {
	s      *Scheduling
	stream grpc.BidiStreamingClient[pluginv1.SchedulingEvaluateRequest, pluginv1.SchedulingEvaluateResponse]
	end    context.CancelFunc
	sent   View
}

// Evaluator returns a new one, which has told the plugin nothing.
func (s *Scheduling) Evaluator() *Evaluator { return &Evaluator{s: s} }

// Close ends it.
func (e *Evaluator) Close() {
	if e.end != nil {
		e.end()
	}
	e.stream, e.end, e.sent = nil, nil, View{}
}

// Evaluate asks about some pods at once. It waits for the answer as long as timeout; ctx bounds
// the request and not what the plugin remembers.
func (e *Evaluator) Evaluate(ctx context.Context, timeout time.Duration, view View, questions []Question) (_ []Evaluation, err error) {
	if e.stream == nil {
		streamCtx, end := context.WithCancel(context.WithoutCancel(ctx))
		stream, err := e.s.client.Evaluate(streamCtx)
		if err != nil {
			end()
			return nil, unwire(err)
		}
		e.stream, e.end, e.sent = stream, end, View{}
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	defer context.AfterFunc(ctx, e.end)()
	defer func() {
		if err == nil {
			return
		}
		if ctx.Err() != nil {
			err = fmt.Errorf("the plugin did not answer within %s: %w", timeout, ctx.Err())
		}
		e.Close()
	}()
	r := e.changes(view)
	r.TimeoutMs = timeout.Milliseconds()
	for _, q := range questions {
		r.Pods = append(r.Pods, &pluginv1.SchedulingPod{Pod: q.Pod, Nodes: q.Nodes})
	}
	if err := e.stream.Send(r); err != nil {
		_, err = e.stream.Recv() // says why
		return nil, unwire(err)
	}
	m, err := e.stream.Recv()
	if err != nil {
		return nil, unwire(err)
	}
	if len(m.GetEvaluations()) != len(questions) {
		return nil, fmt.Errorf("the plugin gave %d answers to %d questions", len(m.GetEvaluations()), len(questions))
	}
	out := make([]Evaluation, len(questions))
	for i, w := range m.GetEvaluations() {
		out[i] = evaluation(w, questions[i])
	}
	return out, nil
}

// changes is what the plugin has to be told, which it then knows.
func (e *Evaluator) changes(view View) *pluginv1.SchedulingEvaluateRequest {
	r := &pluginv1.SchedulingEvaluateRequest{}
	for i := range max(len(view.Nodes), len(e.sent.Nodes)) {
		now, before := at(view.Nodes, i), at(e.sent.Nodes, i)
		usage, usageBefore := at(view.Usage, i), at(e.sent.Usage, i)
		if now != before {
			if before == nil || now == nil || before.Name != now.Name {
				usageBefore = nil // what is known of usage goes with the node
			}
			if before != nil && (now == nil || before.Name != now.Name) {
				r.Removed = append(r.Removed, uint32(i))
			}
			if now != nil {
				r.Nodes = append(r.Nodes, schedulingNodeToWire(uint32(i), now))
			}
		}
		if now != nil && usage != nil && usage != usageBefore {
			r.Usage = append(r.Usage, &pluginv1.SchedulingUsage{
				Number: uint32(i), Pods: int64(usage.Pods), Requested: schedulingResourcesToWire(usage.Requested),
			})
		}
	}
	e.sent.Nodes = append(e.sent.Nodes[:0], view.Nodes...)
	e.sent.Usage = append(e.sent.Usage[:0], view.Usage...)
	return r
}

func at[T any](list []*T, i int) *T {
	if i < len(list) {
		return list[i]
	}
	return nil
}

func schedulingNodeToWire(number uint32, n *scheduling.Node) *pluginv1.SchedulingNode {
	w := &pluginv1.SchedulingNode{
		Number: number, Name: n.Name, Uid: string(n.UID), Labels: n.Labels, Annotations: n.Annotations,
		Unschedulable: n.Unschedulable, Allocatable: schedulingResourcesToWire(n.Allocatable),
	}
	for _, t := range n.Taints {
		w.Taints = append(w.Taints, &pluginv1.SchedulingTaint{Key: t.Key, Value: t.Value, Effect: string(t.Effect)})
	}
	return w
}

func schedulingResourcesToWire(list v1.ResourceList) map[string]string {
	out := make(map[string]string, len(list))
	for name, q := range list {
		out[string(name)] = q.String()
	}
	return out
}

// evaluation reads an answer, which may be anything.
func evaluation(w *pluginv1.SchedulingEvaluation, q Question) Evaluation {
	if w.GetError() != "" {
		return Evaluation{Err: &scheduling.Refused{Reason: w.GetError()}}
	}
	if n := len(w.GetScores()); n > 0 && n != len(q.Nodes) {
		return Evaluation{Err: fmt.Errorf("the plugin gave %d scores for %d nodes", n, len(q.Nodes))}
	}
	for _, s := range w.GetScores() {
		if s < 0 || s > scheduling.MaxScore {
			return Evaluation{Err: fmt.Errorf("the plugin gave the invalid score %d: 0 to %d are possible", s, scheduling.MaxScore)}
		}
	}
	out := Evaluation{Scores: w.GetScores(), Refused: make([]string, len(q.Nodes))}
	var places map[uint32]int
	if len(w.GetRefusals()) > 0 {
		places = make(map[uint32]int, len(q.Nodes))
		for i, n := range q.Nodes {
			places[n] = i
		}
	}
	for _, r := range w.GetRefusals() {
		if r.GetReason() == "" {
			return Evaluation{Err: fmt.Errorf("the plugin refused nodes without a reason")}
		}
		for _, n := range r.GetNodes() {
			i, asked := places[n]
			if !asked {
				return Evaluation{Err: fmt.Errorf("the plugin refused node number %d, about which it was not asked", n)}
			}
			out.Refused[i] = r.GetReason()
		}
	}
	return out
}
