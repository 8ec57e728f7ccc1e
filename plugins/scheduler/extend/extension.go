package extend

import (
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/pintle-dev/pintle/plugins/scheduler/model"
	"github.com/pintle-dev/pintle/sdk/remote"
	"github.com/pintle-dev/pintle/sdk/scheduling"
)

// Extension is a plugin with a part in scheduling, in one session of it or while it is away. It
// is not changed: another takes its place.
type Extension struct {
	Name    string
	Weight  int64
	Policy  FailurePolicy
	Timeout time.Duration
	// Part is the plugin's, nil while it is away.
	Part *remote.Scheduling
	// session is the plugin's start that Part belongs to.
	session uint64

	concerns scheduling.Concerns
	selector labels.Selector
}

// newExtension returns one that is away and concerns all pods, as nothing is known of it.
func newExtension(s Setting) *Extension {
	return &Extension{
		Name: s.Plugin, Weight: *s.Weight, Policy: s.FailurePolicy,
		Timeout: time.Duration(s.TimeoutSeconds) * time.Second, selector: labels.Everything(),
	}
}

// with returns the extension in a session.
func (e *Extension) with(part *remote.Scheduling, session uint64) (*Extension, error) {
	next := *e
	next.Part, next.session, next.concerns, next.selector = part, session, part.Concerns(), labels.Everything()
	if next.concerns.Selector != nil {
		var err error
		if next.selector, err = metav1.LabelSelectorAsSelector(next.concerns.Selector); err != nil {
			return nil, fmt.Errorf("selector of the pods that concern it: %w", err)
		}
	}
	return &next, nil
}

// without returns the extension while the plugin is away; which pods concern it stays known.
func (e *Extension) without() *Extension {
	next := *e
	next.Part = nil
	return &next
}

func (e *Extension) concernsPod(p *model.Pod) bool {
	c := &e.concerns
	return (len(c.SchedulerNames) == 0 || slices.Contains(c.SchedulerNames, p.SchedulerName)) &&
		(len(c.Namespaces) == 0 || slices.Contains(c.Namespaces, p.Namespace)) &&
		e.selector.Matches(labels.Set(p.Labels))
}

// Usage reports whether it looks at what pods take of nodes.
func (e *Extension) Usage() bool { return e.concerns.Usage }

// PermitTimeout is how long it may let a pod wait.
func (e *Extension) PermitTimeout() time.Duration { return e.concerns.PermitTimeout }

// Can reports whether it has a part, such as scheduling.CanReserve, and is there.
func (e *Extension) Can(part string) bool { return e.Part != nil && e.Part.Can(part) }

// evaluates reports whether it has a say in which node is chosen.
func (e *Extension) evaluates() bool {
	return e.Can(scheduling.CanFilter) || e.Can(scheduling.CanScore)
}

// Failure is an extension's that could not be asked, and whose policy does not let that pass.
type Failure struct {
	Plugin string
	// Away says that it was not running.
	Away bool
	Err  error
}

// Error names the plugin.
func (f *Failure) Error() string {
	if f.Away {
		return fmt.Sprintf("scheduling plugin %q is not running: the pod waits for it, as its failurePolicy is %s", f.Plugin, Fail)
	}
	return fmt.Sprintf("running scheduling plugin %q: %v", f.Plugin, f.Err)
}

// Unwrap returns what happened.
func (f *Failure) Unwrap() error { return f.Err }
