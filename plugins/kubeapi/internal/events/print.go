package events

import (
	"maps"
	"strings"

	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/show"
	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/tree"
)

// Print returns the cells of an event of either form.
func Print(event map[string]any) []any {
	o := core(event)
	first := show.Since(show.Or(tree.Str(o, "firstTimestamp"), tree.Str(o, "eventTime")))
	last, count := first, tree.Int0(o, "count")
	if t := tree.Str(o, "lastTimestamp"); t != "" {
		last = show.Since(t)
	}
	if s := tree.Map(o, "series"); s != nil {
		last, count = show.Since(tree.Str(s, "lastObservedTime")), tree.Int0(s, "count")
	} else if count == 0 {
		count = 1
	}
	involved, source := tree.Map(o, "involvedObject"), tree.Map(o, "source")
	target := strings.ToLower(tree.Str(involved, "kind"))
	if name := tree.Str(involved, "name"); name != "" {
		target += "/" + name
	}
	from := show.Or(tree.Str(source, "component"), tree.Str(o, "reportingComponent"))
	if host := show.Or(tree.Str(source, "host"), tree.Str(o, "reportingInstance")); host != "" {
		from += ", " + host
	}
	return []any{
		last, tree.Str(o, "type"), tree.Str(o, "reason"), target, tree.Str(involved, "fieldPath"), from,
		strings.TrimSpace(tree.Str(o, "message")), first, count, tree.Str(tree.Map(o, "metadata"), "name"),
	}
}

// core is an event with the names of core's form. The event itself is not changed.
func core(event map[string]any) map[string]any {
	out := maps.Clone(event)
	for _, n := range names {
		if v, ok := event[n[1]]; ok {
			delete(out, n[1])
			out[n[0]] = v
		}
	}
	return out
}
