package namespace

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
)

// finding is what one pass over a namespace found.
type finding struct {
	discovery error
	parsing   error
	content   []error
	// remaining counts objects by resource, finalizers those that have one.
	remaining  map[schema.GroupVersionResource]int
	finalizers map[string]int
}

func newFinding() *finding {
	return &finding{remaining: map[schema.GroupVersionResource]int{}, finalizers: map[string]int{}}
}

// empty reports whether nothing is left in the namespace, as far as could be seen.
func (f *finding) empty() bool {
	return f.discovery == nil && f.parsing == nil && len(f.content) == 0 && len(f.remaining) == 0
}

// err returns all that went wrong.
func (f *finding) err() error {
	return errors.Join(append([]error{f.discovery, f.parsing}, f.content...)...)
}

// conditions returns the conditions of the namespace and whether they differ from old.
func (f *finding) conditions(old []v1.NamespaceCondition, now time.Time) ([]v1.NamespaceCondition, bool) {
	out := slices.Clone(old)
	changed := false
	set := func(t v1.NamespaceConditionType, bad bool, reason, message, okReason, okMessage string) {
		c := v1.NamespaceCondition{Type: t, Status: v1.ConditionFalse, Reason: okReason, Message: okMessage}
		if bad {
			c.Status, c.Reason, c.Message = v1.ConditionTrue, reason, message
		}
		c.LastTransitionTime = metav1.NewTime(now)
		for i := range out {
			if out[i].Type != t {
				continue
			}
			if out[i].Status == c.Status {
				c.LastTransitionTime = out[i].LastTransitionTime
			}
			if out[i] != c {
				out[i], changed = c, true
			}
			return
		}
		out, changed = append(out, c), true
	}
	set(v1.NamespaceDeletionDiscoveryFailure, f.discovery != nil, "DiscoveryFailed", discoveryMessage(f.discovery),
		"ResourcesDiscovered", "All resources successfully discovered")
	set(v1.NamespaceDeletionGVParsingFailure, f.parsing != nil, "GroupVersionParsingFailed", message(f.parsing),
		"ParsedGroupVersions", "All legacy kube types successfully parsed")
	set(v1.NamespaceDeletionContentFailure, len(f.content) > 0, "ContentDeletionFailed", contentMessage(f.content),
		"ContentDeleted", "All content successfully deleted, may be waiting on finalization")
	set(v1.NamespaceContentRemaining, len(f.remaining) > 0, "SomeResourcesRemain", "Some resources are remaining: "+remainingText(f.remaining),
		"ContentRemoved", "All content successfully removed")
	set(v1.NamespaceFinalizersRemaining, len(f.finalizers) > 0, "SomeFinalizersRemain",
		"Some content in the namespace has finalizers remaining: "+finalizersText(f.finalizers),
		"ContentHasNoFinalizers", "All content-preserving finalizers finished")
	return out, changed
}

func message(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func discoveryMessage(err error) string {
	var partial *discovery.ErrGroupDiscoveryFailed
	if errors.As(err, &partial) {
		return fmt.Sprintf("Discovery failed for some groups, %d failing: %v", len(partial.Groups), err)
	}
	return message(err)
}

func contentMessage(list []error) string {
	texts := make([]string, len(list))
	for i, err := range list {
		texts[i] = err.Error()
	}
	slices.Sort(texts)
	return fmt.Sprintf("Failed to delete all resource types, %d remaining: %s", len(list), strings.Join(texts, ", "))
}

func remainingText(m map[schema.GroupVersionResource]int) string {
	texts := make([]string, 0, len(m))
	for r, n := range m {
		texts = append(texts, fmt.Sprintf("%s.%s has %d resource instances", r.Resource, r.Group, n))
	}
	slices.Sort(texts)
	return strings.Join(texts, ", ")
}

func finalizersText(m map[string]int) string {
	texts := make([]string, 0, len(m))
	for f, n := range m {
		texts = append(texts, fmt.Sprintf("%s in %d resource instances", f, n))
	}
	slices.Sort(texts)
	return strings.Join(texts, ", ")
}

// again is when to look at a namespace that is not empty yet: soon at first, seldom when
// it takes long.
func again(deleted, now time.Time) time.Duration {
	return min(max(now.Sub(deleted)/8, 100*time.Millisecond), 15*time.Second)
}
