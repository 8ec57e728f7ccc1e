package scheduling

import (
	"context"
	"errors"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/pintle-dev/pintle/sdk/plugin"
)

const (
	// MaxScore is the score of a node that could not be better.
	MaxScore = 100
	// MaxPermitTimeout is the longest that a pod waits for its permit.
	MaxPermitTimeout = 15 * time.Minute
	// DefaultPermitTimeout is how long it waits where Concerns says nothing.
	DefaultPermitTimeout = 10 * time.Second
)

// Extension is a plugin that takes part in scheduling. It implements at least one of Filter,
// Score, Reserve, Permit and Bind as well. All methods may be called at the same time; what
// they are given must not be changed.
type Extension interface {
	plugin.Plugin
	// Concerns says for which pods it is asked. It is called after Configure and must not
	// block.
	Concerns() Concerns
}

// Concerns are the pods that concern a plugin: those that meet all that is set. The zero value
// means all pods.
type Concerns struct {
	// SchedulerNames are values of spec.schedulerName, among those that the scheduler serves.
	SchedulerNames []string
	Namespaces     []string
	// Selector is by the pod's labels.
	Selector *metav1.LabelSelector
	// Usage says that the plugin looks at Node.Usage. Each pod that is placed changes that, so
	// it is asked about one pod at a time, which costs; without it, about many.
	Usage bool
	// PermitTimeout is how long Permit may take; DefaultPermitTimeout where zero, at most
	// MaxPermitTimeout.
	PermitTimeout time.Duration
}

// Filter refuses nodes.
type Filter interface {
	// Filter says of each of the nodes whether the pod may run there: verdict i is about node
	// i. nil lets all pass. All nodes fit by what the scheduler itself knows. An error means
	// that the plugin can't tell; what becomes of the pod then is the operator's choice.
	Filter(ctx context.Context, pod *v1.Pod, nodes []*Node) ([]Verdict, error)
}

// Verdict is what a filter says of one node. The zero value lets it pass.
type Verdict struct {
	// Reason of a refusal, as it stands behind a number of nodes in the pod's event: "node(s)
	// cost too much". Nodes with the same reason are counted together, so it should not name
	// the node.
	Reason string
}

// Refuse is a verdict.
func Refuse(reason string) Verdict { return Verdict{Reason: reason} }

// Score compares nodes.
type Score interface {
	// Score gives each of the nodes 0 to MaxScore: score i is for node i. The nodes have passed
	// the plugin's own filter. Scores are multiplied by the weight that the operator gave the
	// plugin, and added to the scheduler's own.
	Score(ctx context.Context, pod *v1.Pod, nodes []*Node) ([]int64, error)
}

// Reserve keeps books of what is given to pods.
type Reserve interface {
	// Reserve is told that the pod is about to be bound to the node. An error refuses that,
	// and the pod waits.
	Reserve(ctx context.Context, pod *v1.Pod, node string) error
	// Unreserve takes that back, as the pod was not bound after all. It is called, too, where
	// Reserve itself failed or was never called, and can't fail.
	Unreserve(ctx context.Context, pod *v1.Pod, node string)
}

// Permit says when a pod may be bound.
type Permit interface {
	// Permit returns when the pod may be bound; meanwhile the pod's place is kept. An error
	// refuses it. When ctx ends nobody waits any more: the pod is gone, or the time is up that
	// Concerns gives. Many calls wait at the same time.
	Permit(ctx context.Context, pod *v1.Pod, node string) error
}

// Bind binds pods instead of the scheduler.
type Bind interface {
	// Bind creates the pod's Binding. ErrSkip leaves the pod to others.
	Bind(ctx context.Context, pod *v1.Pod, node string) error
}

// ErrSkip is what Bind returns for pods that it does not bind.
var ErrSkip = errors.New("not bound by this plugin")

// Changes is for plugins whose answers become others by themselves: a licence is given back, a
// price falls. Pods that were refused are asked about again when a node or a pod changes, and
// else only after minutes.
type Changes interface {
	// Changes calls changed whenever refused pods should be asked about again, until ctx is
	// done.
	Changes(ctx context.Context, changed func()) error
}

// Starter is for plugins that want to reach the API server.
type Starter interface {
	// Start is called once, before the plugin is asked anything. ctx ends when Start is to
	// return; what goes on after that ends with the process.
	Start(ctx context.Context, env plugin.Env) error
}

// Node is a node as the scheduler knows it.
type Node struct {
	Name          string
	UID           types.UID
	Labels        map[string]string
	Annotations   map[string]string
	Taints        []v1.Taint
	Unschedulable bool
	Allocatable   v1.ResourceList
	// Usage is nil unless Concerns asks for it.
	Usage *Usage
}

// Usage is what pods take of a node, those included whose binding is under way.
type Usage struct {
	Pods      int
	Requested v1.ResourceList
}

// Refused is the error by which a plugin refuses a pod, as the scheduler gets it.
type Refused struct{ Reason string }

// Error implements error.
func (r *Refused) Error() string { return r.Reason }
