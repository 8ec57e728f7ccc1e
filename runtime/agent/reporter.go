package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
)

// calm is how long a report of nothing but being about to start waits for a better one:
// most pods run before it is over, and are reported once.
const calm = 250 * time.Millisecond

// reporter writes one pod's status to the API server: the newest, only when it differs,
// again and again until it is taken.
type reporter struct {
	a *Agent
	w *worker

	mu     sync.Mutex
	pod    *corev1.Pod
	next   *corev1.PodStatus
	first  time.Time
	notify chan struct{}

	patching sync.Mutex
	// sent is what the API server last took from us, and as which version.
	sent   *corev1.PodStatus
	sentRV uint64
}

func newReporter(a *Agent, w *worker) *reporter {
	return &reporter{a: a, w: w, notify: make(chan struct{}, 1), first: time.Now()}
}

// report sets what is to be reported. It does not wait.
func (r *reporter) report(pod *corev1.Pod, st corev1.PodStatus) {
	r.mu.Lock()
	r.pod, r.next = pod, &st
	r.mu.Unlock()
	select {
	case r.notify <- struct{}{}:
	default:
	}
}

func (r *reporter) take() (*corev1.Pod, *corev1.PodStatus) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.pod, r.next
}

func (r *reporter) run(ctx context.Context) {
	var retry <-chan time.Time
	delay := 100 * time.Millisecond
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.notify:
		case <-retry:
		}
		pod, st := r.take()
		if pod == nil {
			continue
		}
		if left := calm - time.Since(r.first); left > 0 && justStarting(st) {
			retry = time.After(left)
			continue
		}
		retry = nil
		if err := r.patch(ctx, pod, *st); err != nil && ctx.Err() == nil {
			r.w.log.Warn("cannot report the pod's status", "err", err)
			delay = min(2*delay, 10*time.Second)
			retry = time.After(delay)
			continue
		}
		delay = 100 * time.Millisecond
	}
}

// justStarting tells a status that says nothing but that containers are being made.
func justStarting(st *corev1.PodStatus) bool {
	if st.Phase != corev1.PodPending {
		return false
	}
	for _, list := range [][]corev1.ContainerStatus{st.InitContainerStatuses, st.ContainerStatuses} {
		for i := range list {
			w := list[i].State.Waiting
			if w == nil || w.Reason != "ContainerCreating" && w.Reason != "PodInitializing" {
				return false
			}
		}
	}
	return true
}

// patch brings the status to the API server, if it is not there already.
func (r *reporter) patch(ctx context.Context, pod *corev1.Pod, st corev1.PodStatus) error {
	r.patching.Lock()
	defer r.patching.Unlock()
	if r.sent != nil && version(pod) < r.sentRV && equality.Semantic.DeepEqual(*r.sent, st) {
		return nil // on its way to us
	}
	patch, err := statusPatch(pod, st)
	if err != nil || patch == nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	got, err := r.a.client.CoreV1().Pods(pod.Namespace).Patch(ctx, pod.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil // gone, or another pod of that name
	}
	if err != nil {
		return fmt.Errorf("patch status: %w", err)
	}
	r.sent, r.sentRV = &st, version(got)
	return nil
}

func version(pod *corev1.Pod) uint64 {
	n, _ := strconv.ParseUint(pod.ResourceVersion, 10, 64)
	return n
}

// statusPatch makes a strategic merge patch that changes the pod's status to st, and
// only of this very pod; nil if nothing changes.
func statusPatch(pod *corev1.Pod, st corev1.PodStatus) ([]byte, error) {
	oldJSON, err := json.Marshal(corev1.Pod{Status: pod.Status})
	if err != nil {
		return nil, fmt.Errorf("encode status: %w", err)
	}
	newJSON, err := json.Marshal(corev1.Pod{Status: st})
	if err != nil {
		return nil, fmt.Errorf("encode status: %w", err)
	}
	diff, err := strategicpatch.CreateTwoWayMergePatch(oldJSON, newJSON, corev1.Pod{})
	if err != nil {
		return nil, fmt.Errorf("make status patch: %w", err)
	}
	if string(diff) == "{}" {
		return nil, nil
	}
	var m map[string]any
	if err := json.Unmarshal(diff, &m); err != nil {
		return nil, fmt.Errorf("make status patch: %w", err)
	}
	m["metadata"] = map[string]any{"uid": string(pod.UID)}
	return json.Marshal(m)
}
