package show

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/duration"

	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/tree"
)

// The words for what is not there.
const (
	None    = "<none>"
	Unknown = "<unknown>"
	Unset   = "<unset>"
)

// Time parses an RFC 3339 time; what is not one is the zero time.
func Time(s string) time.Time {
	if s == "" {
		return time.Time{}
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return time.Time{}
	}
	return t
}

// Since says how long ago a time was, as in "5m" or "3d4h".
func Since(timestamp string) string {
	t := Time(timestamp)
	if t.IsZero() {
		return Unknown
	}
	return duration.HumanDuration(time.Since(t))
}

// Age says how long ago an object was created.
func Age(object map[string]any) string {
	return Since(tree.Str(tree.Map(object, "metadata"), "creationTimestamp"))
}

// Or returns s, or the other word where s is empty.
func Or(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// Containers returns the names and the images of a pod spec's containers.
func Containers(podSpec map[string]any) (names, images string) {
	list := tree.List(podSpec, "containers")
	n, i := make([]string, 0, len(list)), make([]string, 0, len(list))
	for _, v := range list {
		c := tree.Object(v)
		n = append(n, tree.Str(c, "name"))
		i = append(i, tree.Str(c, "image"))
	}
	return strings.Join(n, ","), strings.Join(i, ",")
}

// Labels shows a map of labels.
func Labels(m map[string]string) string { return labels.FormatLabels(m) }

// Selector shows a label selector object.
func Selector(selector map[string]any) string {
	if selector == nil {
		return None
	}
	s, err := tree.Typed[metav1.LabelSelector](selector)
	if err != nil {
		return "<error>"
	}
	return metav1.FormatLabelSelector(s)
}

// IntOrString shows an integer or a string, or other where there is neither.
func IntOrString(v any, other string) string {
	switch v := v.(type) {
	case int64:
		return strconv.FormatInt(v, 10)
	case string:
		return v
	}
	return other
}

// BoolOr shows a boolean with a capital letter, as upstream does, or other.
func BoolOr(v any, other string) string {
	b, ok := v.(bool)
	switch {
	case !ok:
		return other
	case b:
		return "True"
	default:
		return "False"
	}
}

// First joins the first three words and says how many more there are.
func First(words []string) string {
	const most = 3
	switch {
	case len(words) == 0:
		return Unset
	case len(words) > most:
		return fmt.Sprintf("%s + %d more...", strings.Join(words[:most], ","), len(words)-most)
	default:
		return strings.Join(words, ",")
	}
}

// LoadBalancer shows the addresses of a load balancer's status, sorted.
func LoadBalancer(status map[string]any) string {
	var words []string
	for _, v := range tree.List(status, "ingress") {
		in := tree.Object(v)
		if word := Or(tree.Str(in, "ip"), tree.Str(in, "hostname")); word != "" {
			words = append(words, word)
		}
	}
	slices.Sort(words)
	return strings.Join(slices.Compact(words), ",")
}

// Condition returns the status of a condition of an object's status, or "".
func Condition(status map[string]any, typ string) string {
	for _, v := range tree.List(status, "conditions") {
		if c := tree.Object(v); tree.Str(c, "type") == typ {
			return tree.Str(c, "status")
		}
	}
	return ""
}

// Func prints the cells of an object; it makes a function a resource.Printer.
type Func func(object map[string]any) []any

// Cells implements resource.Printer.
func (f Func) Cells(object map[string]any) []any { return f(object) }
