package scheduler

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/pintle-dev/pintle/plugins/scheduler/model"
)

const (
	// backlog is how many events and conditions may wait to be written; what is more is
	// dropped, as events are best effort and conditions are written again.
	backlog = 8192
	writers = 4
	// remembered is how many failures are counted up instead of being written anew.
	remembered = 2048
	// maxMessage is the API's limit for the message of an event.
	maxMessage = 1024
)

// outcome writes what became of pods: bindings, events, conditions.
type outcome struct {
	client *client
	log    *slog.Logger
	notes  chan func(context.Context)

	mu   sync.Mutex
	past map[types.UID]*pastEvent
}

// pastEvent is the last event about a failure to schedule a pod.
type pastEvent struct {
	name, message string
	count         int
}

var _ binder = (*outcome)(nil)

func newOutcome(c *client, log *slog.Logger) *outcome {
	return &outcome{client: c, log: log, notes: make(chan func(context.Context), backlog), past: map[types.UID]*pastEvent{}}
}

// run writes notes until ctx is cancelled.
func (o *outcome) run(ctx context.Context) {
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for {
				select {
				case <-ctx.Done():
					return
				case note := <-o.notes:
					note(ctx)
				}
			}
		})
	}
	wg.Wait()
}

// note leaves something to be written later.
func (o *outcome) note(write func(context.Context)) {
	select {
	case o.notes <- write:
	default:
	}
}

// Bind creates the binding and, when it stands, the event that says so.
func (o *outcome) Bind(ctx context.Context, pod *model.Pod, node string) error {
	b := make([]byte, 0, 256)
	b = append(b, `{"apiVersion":"v1","kind":"Binding","metadata":{"name":`...)
	b = strconv.AppendQuote(b, pod.Name)
	b = strconv.AppendQuote(append(b, `,"namespace":`...), pod.Namespace)
	b = strconv.AppendQuote(append(b, `,"uid":`...), string(pod.UID))
	b = append(b, `},"target":{"apiVersion":"v1","kind":"Node","name":`...)
	b = append(strconv.AppendQuote(b, node), "}}"...)
	if err := o.client.post(ctx, podPath(pod)+"/binding", b); err != nil {
		return fmt.Errorf("bind pod %s/%s to node %s: %w", pod.Namespace, pod.Name, node, err)
	}
	o.Bound(pod, node)
	return nil
}

// Bound writes the event that says that a binding stands.
func (o *outcome) Bound(pod *model.Pod, node string) {
	o.note(func(ctx context.Context) {
		o.mu.Lock()
		delete(o.past, pod.UID)
		o.mu.Unlock()
		o.event(ctx, pod, v1.EventTypeNormal, "Scheduled", "Binding",
			"Successfully assigned "+pod.Namespace+"/"+pod.Name+" to "+node)
	})
}

// Read returns the JSON of a pod as it is now.
func (o *outcome) Read(ctx context.Context, pod *model.Pod) ([]byte, error) {
	body, err := o.client.stream(ctx, podPath(pod), nil)
	if err != nil {
		return nil, fmt.Errorf("read pod %s/%s: %w", pod.Namespace, pod.Name, err)
	}
	defer func() { _ = body.Close() }()
	raw, err := io.ReadAll(body)
	if err != nil {
		return nil, fmt.Errorf("read pod %s/%s: %w", pod.Namespace, pod.Name, err)
	}
	return raw, nil
}

// Refuse records that a pod was not scheduled: an event, and a condition unless it is there.
func (o *outcome) Refuse(pod *model.Pod, reason, message string) {
	o.note(func(ctx context.Context) {
		o.failedScheduling(ctx, pod, message)
		if pod.Reason == reason && pod.Message == message {
			return
		}
		if err := o.condition(ctx, pod, reason, message); err != nil && !apierrors.IsNotFound(err) {
			o.log.Warn("the condition PodScheduled could not be written", "pod", pod.Namespace+"/"+pod.Name, "error", err)
		}
	})
}

func (o *outcome) condition(ctx context.Context, pod *model.Pod, reason, message string) error {
	body, err := json.Marshal(map[string]any{
		// A pod of the same name made since is another pod.
		"metadata": map[string]any{"uid": pod.UID},
		"status": map[string]any{"conditions": []v1.PodCondition{{
			Type: v1.PodScheduled, Status: v1.ConditionFalse, Reason: reason,
			Message: message, LastTransitionTime: metav1.Now(),
		}}},
	})
	if err != nil {
		return err
	}
	return o.client.patch(ctx, podPath(pod)+"/status", string(types.StrategicMergePatchType), body)
}

func (o *outcome) failedScheduling(ctx context.Context, pod *model.Pod, message string) {
	if len(message) > maxMessage {
		message = message[:maxMessage-3] + "..."
	}
	o.mu.Lock()
	past := o.past[pod.UID]
	if past != nil && past.message == message {
		past.count++
		name, count := past.name, past.count
		o.mu.Unlock()
		body := fmt.Sprintf(`{"count":%d,"lastTimestamp":%q}`, count, time.Now().UTC().Format(time.RFC3339))
		err := o.client.patch(ctx, eventsPath(pod)+"/"+name, string(types.MergePatchType), []byte(body))
		if !apierrors.IsNotFound(err) {
			return
		}
		o.mu.Lock()
	}
	if len(o.past) >= remembered {
		for uid := range o.past {
			delete(o.past, uid)
			break
		}
	}
	o.mu.Unlock()
	name := o.event(ctx, pod, v1.EventTypeWarning, "FailedScheduling", "Scheduling", message)
	if name == "" {
		return
	}
	o.mu.Lock()
	o.past[pod.UID] = &pastEvent{name: name, message: message, count: 1}
	o.mu.Unlock()
}

// event creates an event and returns its name, or "" if it could not.
func (o *outcome) event(ctx context.Context, pod *model.Pod, kind, reason, action, message string) string {
	now := metav1.Now()
	e := v1.Event{
		TypeMeta:       metav1.TypeMeta{APIVersion: "v1", Kind: "Event"},
		ObjectMeta:     metav1.ObjectMeta{Name: pod.Name + "." + strconv.FormatInt(now.UnixNano(), 16), Namespace: pod.Namespace},
		InvolvedObject: v1.ObjectReference{APIVersion: "v1", Kind: "Pod", Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID, ResourceVersion: pod.ResourceVersion},
		Reason:         reason, Message: message, Type: kind, Action: action,
		Source:         v1.EventSource{Component: pod.SchedulerName},
		FirstTimestamp: now, LastTimestamp: now, Count: 1,
		ReportingController: pod.SchedulerName,
	}
	body, err := json.Marshal(&e)
	if err == nil {
		err = o.client.post(ctx, eventsPath(pod), body)
	}
	if err != nil {
		o.log.Debug("an event could not be written", "pod", pod.Namespace+"/"+pod.Name, "error", err)
		return ""
	}
	return e.Name
}

func podPath(p *model.Pod) string {
	return "/api/v1/namespaces/" + p.Namespace + "/pods/" + p.Name
}

func eventsPath(p *model.Pod) string { return "/api/v1/namespaces/" + p.Namespace + "/events" }
