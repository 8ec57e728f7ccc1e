// Package events converts between the two forms of an event and prints both: core/v1 and
// events.k8s.io/v1 name the same things differently, and are one object in the store.
//
// It must know nothing of storage or validation.
package events

import (
	"fmt"

	runtimeschema "k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/hook"
)

// Bucket is the name under which both groups keep their events.
const Bucket = "events"

// Group is the group of the newer form.
const Group = "events.k8s.io"

// names are the fields that the two forms name differently: core's first.
var names = [...][2]string{
	{"involvedObject", "regarding"},
	{"message", "note"},
	{"source", "deprecatedSource"},
	{"firstTimestamp", "deprecatedFirstTimestamp"},
	{"lastTimestamp", "deprecatedLastTimestamp"},
	{"count", "deprecatedCount"},
	{"reportingComponent", "reportingController"},
}

// Hooks are the hooks of an event kind of either group.
type Hooks struct{ hook.Kind }

// Convert changes an event to the form of a group and version. The object is changed in
// place and returned.
func (Hooks) Convert(event map[string]any, to runtimeschema.GroupVersionKind) (map[string]any, error) {
	from, into := 0, 1
	switch {
	case to.Group == "" && to.Version == "v1":
		from, into = 1, 0
	case to.Group == Group && to.Version == "v1":
	default:
		return nil, fmt.Errorf("events: no conversion to %s", to)
	}
	for _, n := range names {
		if v, ok := event[n[from]]; ok {
			delete(event, n[from])
			event[n[into]] = v
		}
	}
	event["apiVersion"], event["kind"] = to.GroupVersion().String(), to.Kind
	return event, nil
}
