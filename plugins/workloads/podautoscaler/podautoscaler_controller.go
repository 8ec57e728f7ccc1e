package podautoscaler

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	v1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	autoscalinglisters "k8s.io/client-go/listers/autoscaling/v2"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"

	"github.com/pintle-dev/pintle/plugins/workloads/control"
	"github.com/pintle-dev/pintle/plugins/workloads/scale"
)

const (
	// period is how often an autoscaler is looked at.
	period = 15 * time.Second
	// usual is how far usage may be off its target where nothing else is said.
	usual = 0.1
)

// Scales reads and writes scales.
type Scales interface {
	Get(ctx context.Context, t scale.Target) (*autoscalingv1.Scale, error)
	Update(ctx context.Context, t scale.Target, s *autoscalingv1.Scale) error
}

// Controller reconciles HorizontalPodAutoscalers.
type Controller struct {
	kit     control.Kit
	loop    *control.Loop
	events  record.EventRecorder
	scalers autoscalinglisters.HorizontalPodAutoscalerLister
	pods    corelisters.PodLister
	watches control.Watches
	scales  Scales
	metrics metrics
	now     func() time.Time

	mu        sync.Mutex
	past      map[string]*past
	selectors map[string]labels.Selector // of the targets, by autoscaler
}

// Options of a Controller. The zero value asks the API server.
type Options struct {
	Scales  Scales
	Metrics Read
}

// New returns the controller. The informers of kit must not have been started.
func New(kit control.Kit, o Options) (*Controller, error) {
	informer, pods := kit.Informers.Autoscaling().V2().HorizontalPodAutoscalers(), kit.Informers.Core().V1().Pods()
	if o.Scales == nil {
		o.Scales = scale.Client{Discovery: kit.Client.Discovery()}
	}
	if o.Metrics == nil {
		o.Metrics = readFrom(kit.Client.Discovery())
	}
	c := &Controller{
		kit: kit, events: kit.Events("horizontal-pod-autoscaler"), scalers: informer.Lister(), pods: pods.Lister(), scales: o.Scales,
		metrics: metrics{kit.Client.Discovery(), o.Metrics}, now: time.Now, past: map[string]*past{}, selectors: map[string]labels.Selector{},
	}
	c.loop = control.NewLoop("horizontalpodautoscaler", kit.Log, c.sync)
	return c, c.watches.Add("the HorizontalPodAutoscaler controller", control.Handlers{
		informer.Informer(): cache.ResourceEventHandlerFuncs{
			AddFunc: c.loop.AddObject,
			UpdateFunc: func(old, obj any) {
				// Its own status is no reason to look again.
				if a, b := old.(*autoscalingv2.HorizontalPodAutoscaler), obj.(*autoscalingv2.HorizontalPodAutoscaler); !apiequality.Semantic.DeepEqual(a.Spec, b.Spec) {
					c.loop.AddObject(b)
				}
			},
			DeleteFunc: c.loop.AddObject,
		},
		pods.Informer(): nil,
	})
}

// Run works until ctx is cancelled.
func (c *Controller) Run(ctx context.Context) { c.watches.Run(ctx, c.loop.Workers(3)) }

// memory returns what is remembered of an autoscaler.
func (c *Controller) memory(key string) *past {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.past[key]
	if p == nil {
		p = &past{}
		c.past[key] = p
	}
	return p
}

func (c *Controller) sync(ctx context.Context, key string) error {
	shared, found, err := control.Lookup(key, func(namespace, name string) (*autoscalingv2.HorizontalPodAutoscaler, error) {
		return c.scalers.HorizontalPodAutoscalers(namespace).Get(name)
	})
	if err != nil {
		return err
	}
	if !found {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.past, key)
		delete(c.selectors, key)
		return nil
	}
	c.loop.AddAfter(key, period)
	hpa := shared.DeepCopy()
	failure := c.reconcile(ctx, hpa, c.memory(key))
	if failure != nil {
		// The conditions tell it; the next period is soon enough to try again.
		c.kit.Log.Debug("an autoscaler did not get through", "horizontalpodautoscaler", key, "error", failure)
	}
	if apiequality.Semantic.DeepEqual(shared.Status, hpa.Status) {
		return nil
	}
	_, err = c.kit.Client.AutoscalingV2().HorizontalPodAutoscalers(hpa.Namespace).UpdateStatus(ctx, hpa, metav1.UpdateOptions{})
	if err == nil || apierrors.IsNotFound(err) {
		return nil
	}
	c.events.Event(hpa, v1.EventTypeWarning, "FailedUpdateStatus", err.Error())
	return fmt.Errorf("failed to update status for %s: %w", hpa.Name, err)
}

// reconcile scales the target of an autoscaler and brings its status up to date.
func (c *Controller) reconcile(ctx context.Context, hpa *autoscalingv2.HorizontalPodAutoscaler, memory *past) error {
	target, s, err := c.target(ctx, hpa)
	if err != nil {
		c.events.Event(hpa, v1.EventTypeWarning, "FailedGetScale", err.Error())
		c.say(hpa, autoscalingv2.AbleToScale, v1.ConditionFalse, "FailedGetScale", fmt.Sprintf("the HPA controller was unable to get the target's current scale: %v", err))
		return err
	}
	c.say(hpa, autoscalingv2.AbleToScale, v1.ConditionTrue, "SucceededGetScale", "the HPA controller was able to get the target's current scale")
	now := c.now()
	memory.forget(now)
	current, least := s.Spec.Replicas, int32(1)
	if hpa.Spec.MinReplicas != nil {
		least = *hpa.Spec.MinReplicas
	}
	if len(memory.recommended) == 0 {
		memory.recommended = append(memory.recommended, moment{now, current})
	}
	wanted, why := current, ""
	var statuses []autoscalingv2.MetricStatus
	var partial error
	switch {
	case current == 0 && least != 0:
		c.say(hpa, autoscalingv2.ScalingActive, v1.ConditionFalse, "ScalingDisabled", "scaling is disabled since the replica count of the target is zero")
	case current > hpa.Spec.MaxReplicas:
		wanted, why = hpa.Spec.MaxReplicas, "Current number of replicas above Spec.MaxReplicas"
	case current < least:
		wanted, why = least, "Current number of replicas below Spec.MinReplicas"
	default:
		var best proposal
		if best, statuses, partial = c.ask(ctx, hpa, s, now); best.name == "" && partial != nil {
			hpa.Status.CurrentReplicas, hpa.Status.CurrentMetrics = current, statuses
			c.events.Event(hpa, v1.EventTypeWarning, "FailedComputeMetricsReplicas", partial.Error())
			return partial
		}
		switch {
		case best.n > current:
			why = best.name + " above target"
		case best.n < current:
			why = "All metrics below target"
		}
		wanted = c.pace(hpa, memory, current, best.n, least, now)
	}
	if wanted != current {
		if err := c.rescale(ctx, hpa, target, s, wanted, why); err != nil {
			hpa.Status.CurrentReplicas, hpa.Status.CurrentMetrics = current, statuses
			return err
		}
		memory.scaled(current, wanted, now)
		hpa.Status.LastScaleTime = &metav1.Time{Time: now}
	}
	generation := hpa.Generation
	hpa.Status.ObservedGeneration = &generation
	hpa.Status.CurrentReplicas, hpa.Status.DesiredReplicas, hpa.Status.CurrentMetrics = current, wanted, statuses
	return partial
}

func (c *Controller) target(ctx context.Context, hpa *autoscalingv2.HorizontalPodAutoscaler) (scale.Target, *autoscalingv1.Scale, error) {
	ref := hpa.Spec.ScaleTargetRef
	gv, err := schema.ParseGroupVersion(ref.APIVersion)
	if err != nil {
		return scale.Target{}, nil, err
	}
	t := scale.Target{GroupVersion: gv, Kind: ref.Kind, Namespace: hpa.Namespace, Name: ref.Name}
	s, err := c.scales.Get(ctx, t)
	return t, s, err
}

// pace holds what the metrics ask for against the past and the bounds.
func (c *Controller) pace(hpa *autoscalingv2.HorizontalPodAutoscaler, memory *past, current, wanted, least int32, now time.Time) int32 {
	stable := memory.stabilize(hpa.Spec.Behavior, current, wanted, now)
	c.say(hpa, autoscalingv2.AbleToScale, v1.ConditionTrue, stable.reason, stable.message)
	limited := memory.limit(hpa.Spec.Behavior, current, stable.n, least, hpa.Spec.MaxReplicas, now)
	status := v1.ConditionFalse
	if limited.n != stable.n {
		status = v1.ConditionTrue
	}
	c.say(hpa, autoscalingv2.ScalingLimited, status, limited.reason, limited.message)
	return limited.n
}

// ask returns the highest number that a metric asks for. Metrics that can't be had are an error;
// the others count only as long as they do not ask for fewer pods.
func (c *Controller) ask(ctx context.Context, hpa *autoscalingv2.HorizontalPodAutoscaler, s *autoscalingv1.Scale, now time.Time) (proposal, []autoscalingv2.MetricStatus, error) {
	statuses := make([]autoscalingv2.MetricStatus, len(hpa.Spec.Metrics))
	refuse := func(event, reason, message string) (proposal, []autoscalingv2.MetricStatus, error) {
		c.say(hpa, autoscalingv2.ScalingActive, v1.ConditionFalse, reason, message)
		c.events.Event(hpa, v1.EventTypeWarning, event, message)
		return proposal{}, statuses, errors.New(message)
	}
	if s.Status.Selector == "" {
		return refuse("SelectorRequired", "InvalidSelector", "the HPA target's scale is missing a selector")
	}
	selector, err := labels.Parse(s.Status.Selector)
	if err != nil {
		return refuse("InvalidSelector", "InvalidSelector", fmt.Sprintf("couldn't convert selector into a corresponding internal selector object: %v", err))
	}
	if rivals := c.rivals(hpa, selector); len(rivals) > 1 {
		return refuse("AmbiguousSelector", "AmbiguousSelector", fmt.Sprintf("pods by selector %v are controlled by multiple HPAs: %v", s.Status.Selector, rivals))
	}
	q := question{metrics: c.metrics, namespace: hpa.Namespace, scale: s, selector: selector, tolerance: toleranceOf(hpa), now: now}
	q.pods = sync.OnceValues(func() ([]v1.Pod, error) { return c.podsOf(ctx, hpa.Namespace, selector) })
	var best proposal
	var first *failure
	failed := 0
	for i := range hpa.Spec.Metrics {
		p, failure := q.propose(ctx, &hpa.Spec.Metrics[i])
		if failure != nil {
			c.events.Event(hpa, v1.EventTypeWarning, failure.reason, failure.Error())
			if failed++; first == nil {
				first = failure
			}
			continue
		}
		statuses[i] = p.status
		if best.name == "" || p.n > best.n {
			best = p
		}
	}
	if first == nil {
		c.say(hpa, autoscalingv2.ScalingActive, v1.ConditionTrue, "ValidMetricFound", "the HPA was able to successfully calculate a replica count from "+best.name)
		return best, statuses, nil
	}
	err = fmt.Errorf("invalid metrics (%v invalid out of %v), first error is: %w", failed, len(hpa.Spec.Metrics), first.error)
	if best.name == "" || best.n < s.Spec.Replicas {
		c.say(hpa, autoscalingv2.ScalingActive, v1.ConditionFalse, first.reason, fmt.Sprintf("the HPA was unable to compute the replica count: %v", first.error))
		return proposal{}, statuses, err
	}
	c.say(hpa, autoscalingv2.ScalingActive, v1.ConditionTrue, "ValidMetricFound", "the HPA was able to successfully calculate a replica count from "+best.name)
	return best, statuses, err
}

// rivals returns the autoscalers, this one too, whose targets select some of the same pods.
func (c *Controller) rivals(hpa *autoscalingv2.HorizontalPodAutoscaler, selector labels.Selector) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.selectors[hpa.Namespace+"/"+hpa.Name] = selector
	if len(c.selectors) == 1 {
		return nil
	}
	pods, err := c.pods.Pods(hpa.Namespace).List(selector)
	if err != nil {
		return nil // a cache does not fail
	}
	var out []string
	for key, other := range c.selectors {
		if !strings.HasPrefix(key, hpa.Namespace+"/") {
			continue
		}
		if slices.ContainsFunc(pods, func(p *v1.Pod) bool { return other.Matches(labels.Set(p.Labels)) }) {
			out = append(out, key)
		}
	}
	slices.Sort(out)
	return out
}

// podsOf reads pods from the API server: the cache does not hold what they request.
func (c *Controller) podsOf(ctx context.Context, namespace string, selector labels.Selector) ([]v1.Pod, error) {
	list, err := c.kit.Client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: selector.String()})
	if err != nil {
		return nil, fmt.Errorf("unable to get pods while calculating replica count: %w", err)
	}
	return list.Items, nil
}

func toleranceOf(hpa *autoscalingv2.HorizontalPodAutoscaler) tolerance {
	t := tolerance{down: usual, up: usual}
	if r := rulesOf(hpa.Spec.Behavior, false); r != nil && r.Tolerance != nil {
		t.down = r.Tolerance.AsApproximateFloat64()
	}
	if r := rulesOf(hpa.Spec.Behavior, true); r != nil && r.Tolerance != nil {
		t.up = r.Tolerance.AsApproximateFloat64()
	}
	return t
}

// rescale writes a new number to the target.
func (c *Controller) rescale(ctx context.Context, hpa *autoscalingv2.HorizontalPodAutoscaler, t scale.Target, s *autoscalingv1.Scale, n int32, why string) error {
	const tries = 5
	var err error
	for range tries {
		s.Spec.Replicas = n
		if err = c.scales.Update(ctx, t, s); !apierrors.IsConflict(err) {
			break
		}
		latest, readErr := c.scales.Get(ctx, t)
		if readErr != nil {
			err = readErr
			break
		}
		s = latest
	}
	if err != nil {
		c.events.Eventf(hpa, v1.EventTypeWarning, "FailedRescale", "New size: %d; reason: %s; error: %v", n, why, err)
		c.say(hpa, autoscalingv2.AbleToScale, v1.ConditionFalse, "FailedUpdateScale", fmt.Sprintf("the HPA controller was unable to update the target scale: %v", err))
		return fmt.Errorf("failed to rescale %s %s: %w", t.Kind, t.Name, err)
	}
	c.say(hpa, autoscalingv2.AbleToScale, v1.ConditionTrue, "SucceededRescale", fmt.Sprintf("the HPA controller was able to update the target scale to %d", n))
	c.events.Eventf(hpa, v1.EventTypeNormal, "SuccessfulRescale", "New size: %d; reason: %s", n, why)
	return nil
}

// say sets a condition; the time moves with its status only.
func (c *Controller) say(hpa *autoscalingv2.HorizontalPodAutoscaler, typ autoscalingv2.HorizontalPodAutoscalerConditionType, status v1.ConditionStatus, reason, message string) {
	for i := range hpa.Status.Conditions {
		have := &hpa.Status.Conditions[i]
		if have.Type != typ {
			continue
		}
		if have.Status != status {
			have.LastTransitionTime = metav1.NewTime(c.now())
		}
		have.Status, have.Reason, have.Message = status, reason, message
		return
	}
	hpa.Status.Conditions = append(hpa.Status.Conditions, autoscalingv2.HorizontalPodAutoscalerCondition{
		Type: typ, Status: status, LastTransitionTime: metav1.NewTime(c.now()), Reason: reason, Message: message,
	})
}
