package podautoscaler

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/pintle-dev/pintle/plugins/workloads/control"
)

const (
	// startUp is for how long after its start the CPU that a pod uses may be that of starting.
	startUp = 5 * time.Minute
	// firstReady is how soon after its start a pod says for the first time whether it is ready.
	firstReady = 30 * time.Second
)

// tolerance is how far usage may be off its target without a change.
type tolerance struct{ down, up float64 }

func (t tolerance) covers(ratio float64) bool { return 1-t.down <= ratio && ratio <= 1+t.up }

// measure turns samples into the ratio of usage to its target, and what is shown as the current
// value.
type measure func(samples) (ratio float64, shown usage, err error)

// usage is a current value: an average in thousandths, and a percentage where it is one of requests.
type usage struct {
	average     int64
	utilization *int32
}

// byValue measures against a value for each pod, in thousandths.
func byValue(target int64) measure {
	return func(s samples) (float64, usage, error) {
		sum := int64(0)
		for _, x := range s {
			sum += x.value
		}
		average := sum / int64(len(s))
		return float64(average) / float64(target), usage{average: average}, nil
	}
}

// byUtilization measures against a percentage of what the pods request.
func byUtilization(target int32, requests map[string]int64) measure {
	return func(s samples) (float64, usage, error) {
		used, requested, n := int64(0), int64(0), int64(0)
		for name, x := range s {
			if request, ok := requests[name]; ok {
				used, requested, n = used+x.value, requested+request, n+1
			}
		}
		if requested == 0 {
			return 0, usage{}, errors.New("no metrics returned matched known pods")
		}
		percent := int32(used * 100 / requested)
		return float64(percent) / float64(target), usage{used / n, &percent}, nil
	}
}

// groups are pods by what can be said of their metrics.
type groups struct {
	ready            int
	unready, missing []string
	withoutMeaning   []string
}

func groupPods(pods []v1.Pod, s samples, cpu bool, now time.Time) groups {
	var g groups
	for i := range pods {
		p := &pods[i]
		x, known := s[p.Name]
		switch {
		case p.DeletionTimestamp != nil || p.Status.Phase == v1.PodFailed:
			g.withoutMeaning = append(g.withoutMeaning, p.Name)
		case p.Status.Phase == v1.PodPending:
			g.unready = append(g.unready, p.Name)
		case !known:
			g.missing = append(g.missing, p.Name)
		case cpu && starting(p, x, now):
			g.unready = append(g.unready, p.Name)
		default:
			g.ready++
		}
	}
	return g
}

// starting reports whether the CPU that a pod uses says nothing of its load yet.
func starting(p *v1.Pod, x sample, now time.Time) bool {
	c, ready := control.PodReady(p)
	if c == nil || p.Status.StartTime == nil {
		return true
	}
	unready := !ready && c.Status == v1.ConditionFalse
	if p.Status.StartTime.Add(startUp).After(now) {
		return unready || x.at.Before(c.LastTransitionTime.Add(x.window))
	}
	// It has never been ready.
	return unready && p.Status.StartTime.Add(firstReady).After(c.LastTransitionTime.Time)
}

var errNoPods = errors.New("no pods returned by selector while calculating replica count")

// replicasFor is how many pods there should be by the samples of those that there are. assumed is
// what is taken for the usage of pods without samples where the number would go down.
func replicasFor(current int32, pods []v1.Pod, s samples, cpu bool, m measure, assumed func(pod string) int64, t tolerance, now time.Time) (int32, usage, error) {
	if len(pods) == 0 {
		return 0, usage{}, errNoPods
	}
	g := groupPods(pods, s, cpu, now)
	for _, name := range slices.Concat(g.withoutMeaning, g.unready) {
		delete(s, name)
	}
	if len(s) == 0 {
		return 0, usage{}, errors.New("did not receive metrics for targeted pods (pods might be unready)")
	}
	ratio, shown, err := m(s)
	if err != nil {
		return 0, usage{}, err
	}
	upWithUnready := len(g.unready) > 0 && ratio > 1
	if !upWithUnready && len(g.missing) == 0 {
		if t.covers(ratio) {
			return current, shown, nil
		}
		return ceil(ratio * float64(g.ready)), shown, nil
	}
	// Who has not said anything is taken to be on the careful side.
	for _, name := range g.missing {
		switch {
		case ratio < 1:
			s[name] = sample{value: assumed(name)}
		case ratio > 1:
			s[name] = sample{}
		}
	}
	if upWithUnready {
		for _, name := range g.unready {
			s[name] = sample{}
		}
	}
	again, _, err := m(s)
	if err != nil {
		return 0, shown, err
	}
	want := ceil(again * float64(len(s)))
	turned := (ratio < 1 && again > 1) || (ratio > 1 && again < 1) || (again < 1 && want > current) || (again > 1 && want < current)
	if t.covers(again) || turned {
		return current, shown, nil
	}
	return want, shown, nil
}

func ceil(x float64) int32 {
	if x > math.MaxInt32 {
		return math.MaxInt32
	}
	return int32(math.Ceil(x))
}

// replicasForTotal is how many pods there should be for a value that is to be near a target
// whatever their number.
func replicasForTotal(current int32, pods []v1.Pod, value, target int64, t tolerance) (int32, error) {
	ratio := float64(value) / float64(target)
	if current == 0 {
		return ceil(ratio), nil
	}
	if t.covers(ratio) {
		return current, nil
	}
	if len(pods) == 0 {
		return 0, fmt.Errorf("unable to calculate ready pods: %w", errNoPods)
	}
	ready := 0
	for i := range pods {
		if _, ok := control.PodReady(&pods[i]); ok && pods[i].Status.Phase == v1.PodRunning {
			ready++
		}
	}
	return ceil(ratio * float64(ready)), nil
}

// replicasPerPod is how many pods there should be for a value that is shared among them; it also
// returns the share of each.
func replicasPerPod(have int32, value, target int64, t tolerance) (int32, int64) {
	want := have
	if !t.covers(float64(value) / (float64(target) * float64(have))) {
		want = ceil(float64(value) / float64(target))
	}
	share := math.Ceil(float64(value) / float64(have))
	if share >= math.MaxInt64 {
		return want, math.MaxInt64
	}
	return want, int64(share)
}

// requestsOf is what pods request of a resource, in thousandths, or one container of each.
func requestsOf(pods []v1.Pod, name v1.ResourceName, container string) (map[string]int64, error) {
	out := make(map[string]int64, len(pods))
	for i := range pods {
		p := &pods[i]
		if r := p.Spec.Resources; container == "" && r != nil {
			if q, ok := r.Requests[name]; ok {
				out[p.Name] = q.MilliValue()
				continue
			}
		}
		list := slices.Clone(p.Spec.Containers)
		for _, c := range p.Spec.InitContainers {
			if c.RestartPolicy != nil && *c.RestartPolicy == v1.ContainerRestartPolicyAlways {
				list = append(list, c)
			}
		}
		found := container == ""
		for _, c := range list {
			if container != "" && c.Name != container {
				continue
			}
			q, ok := c.Resources.Requests[name]
			if !ok {
				return nil, fmt.Errorf("missing request for %s in container %s of Pod %s", name, c.Name, p.Name)
			}
			found = true
			out[p.Name] += q.MilliValue()
		}
		if !found {
			return nil, fmt.Errorf("container %s not found in Pod %s", container, p.Name)
		}
	}
	return out, nil
}
