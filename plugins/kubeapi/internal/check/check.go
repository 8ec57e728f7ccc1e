package check

import (
	"fmt"
	"strings"

	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/pintle-dev/pintle/plugins/kubeapi/internal/tree"
)

// Messages that upstream gives in many places.
const (
	NotNegative = "must be greater than or equal to 0"
	Immutable   = "field is immutable"
	FileMode    = "must be a number between 0 and 0777 (octal), both inclusive"
)

// plainLabel reports whether s is a DNS label, without the cost of a regular expression.
func plainLabel(s string) bool {
	if s == "" || len(s) > validation.DNS1123LabelMaxLength {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' && i > 0 && i < len(s)-1 {
			continue
		}
		return false
	}
	return true
}

// DNSLabel returns what is wrong with a DNS label, or nil.
func DNSLabel(s string) []string {
	if plainLabel(s) {
		return nil
	}
	return validation.IsDNS1123Label(s)
}

// DNSSubdomain returns what is wrong with a DNS subdomain, or nil.
func DNSSubdomain(s string) []string {
	if plainLabel(s) {
		return nil
	}
	return validation.IsDNS1123Subdomain(s)
}

// EnvName returns what is wrong with the name of an environment variable, or nil.
func EnvName(s string) []string {
	plain := s != "" && (s[0] < '0' || s[0] > '9')
	for i := range len(s) {
		c := s[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' {
			continue
		}
		plain = false
		break
	}
	if plain {
		return nil
	}
	return validation.IsRelaxedEnvVarName(s)
}

// Invalid returns an error for each message about a value.
func Invalid(path *field.Path, value any, messages []string) field.ErrorList {
	var errs field.ErrorList
	for _, m := range messages {
		errs = append(errs, field.Invalid(path, value, m))
	}
	return errs
}

// Name checks metadata.name, where it is known, and what it was generated from, by a
// function such as DNSSubdomain.
func Name(object map[string]any, valid func(string) []string) field.ErrorList {
	meta := tree.Map(object, "metadata")
	var errs field.ErrorList
	if base := tree.Str(meta, "generateName"); base != "" {
		if messages := valid(beginning(base)); messages != nil {
			errs = Invalid(field.NewPath("metadata", "generateName"), base, messages)
		}
	}
	name := tree.Str(meta, "name")
	if name == "" {
		return errs
	}
	if messages := valid(name); messages != nil {
		errs = append(errs, Invalid(field.NewPath("metadata", "name"), name, messages)...)
	}
	return errs
}

// beginning is the beginning of a name as a name of its own: it may end in a dash.
func beginning(base string) string {
	if n := len(base); n > 1 && base[n-1] == '-' {
		return base[:n-2] + "a"
	}
	return base
}

// PathSegment returns what is wrong with a name that may be any segment of a path.
func PathSegment(s string) []string {
	switch {
	case s == "." || s == "..":
		return []string{fmt.Sprintf(`may not be '%s'`, s)}
	case strings.Contains(s, "/"):
		return []string{`may not contain '/'`}
	case strings.Contains(s, "%"):
		return []string{`may not contain '%'`}
	}
	return nil
}

// Required checks that the string at key is there and not empty.
func Required(o map[string]any, path *field.Path, key string) field.ErrorList {
	if tree.Str(o, key) != "" {
		return nil
	}
	return field.ErrorList{field.Required(path.Child(key), "")}
}

// NonNegative checks that the integer at key, where there is one, is not negative.
func NonNegative(o map[string]any, path *field.Path, keys ...string) field.ErrorList {
	var errs field.ErrorList
	for _, key := range keys {
		if v, ok := tree.Int(o, key); ok && v < 0 {
			errs = append(errs, field.Invalid(path.Child(key), v, NotNegative))
		}
	}
	return errs
}

// Port checks a port number.
func Port(path *field.Path, port int64) field.ErrorList {
	if port >= 1 && port <= 65535 {
		return nil
	}
	return Invalid(path, port, validation.IsValidPortNum(int(port)))
}

// PortName returns what is wrong with the name of a port, or nil.
func PortName(s string) []string {
	const longest = 15
	plain, letter := plainLabel(s) && len(s) <= longest, false
	for i := 0; plain && i < len(s); i++ {
		letter = letter || s[i] >= 'a' && s[i] <= 'z'
		plain = s[i] != '-' || s[i+1] != '-' // a label does not end with one
	}
	if plain && letter {
		return nil
	}
	return validation.IsValidPortName(s)
}

// PortOrName checks the port at key, which is a number or a name.
func PortOrName(o map[string]any, path *field.Path, key string) field.ErrorList {
	switch v := o[key].(type) {
	case int64:
		if v >= 1 && v <= 65535 {
			return nil
		}
		return Port(path.Child(key), v)
	case string:
		if messages := PortName(v); messages != nil {
			return Invalid(path.Child(key), v, messages)
		}
		return nil
	case nil:
		return Port(path.Child(key), 0)
	default:
		return field.ErrorList{field.InternalError(path.Child(key), fmt.Errorf("unknown type: %T", v))}
	}
}

// Mode checks the file mode at key, where there is one.
func Mode(o map[string]any, path *field.Path, key string) field.ErrorList {
	if v, ok := tree.Int(o, key); ok && (v < 0 || v > 0o777) {
		return field.ErrorList{field.Invalid(path.Child(key), v, FileMode)}
	}
	return nil
}

// Labels checks the labels at key.
func Labels(o map[string]any, path *field.Path, key string) field.ErrorList {
	if len(tree.Map(o, key)) == 0 {
		return nil
	}
	return metav1validation.ValidateLabels(tree.StringMap(o, key), path.Child(key))
}

// Annotations checks the annotations at key.
func Annotations(o map[string]any, path *field.Path, key string) field.ErrorList {
	if len(tree.Map(o, key)) == 0 {
		return nil
	}
	return apivalidation.ValidateAnnotations(tree.StringMap(o, key), path.Child(key))
}

// Selector checks a metav1.LabelSelector object.
func Selector(o map[string]any, path *field.Path) field.ErrorList {
	if len(o) == 0 {
		return nil
	}
	s, err := tree.Typed[metav1.LabelSelector](o)
	if err != nil {
		return field.ErrorList{field.Invalid(path, o, err.Error())}
	}
	return metav1validation.ValidateLabelSelector(s, metav1validation.LabelSelectorValidationOptions{}, path)
}

// Unchanged checks that a value is what it was.
func Unchanged(path *field.Path, value, old any) field.ErrorList {
	if tree.Equal(value, old) {
		return nil
	}
	return field.ErrorList{field.Invalid(path, value, Immutable)}
}

// RelativePath checks a path below another: not absolute and without "..".
func RelativePath(path *field.Path, target string) field.ErrorList {
	var errs field.ErrorList
	if strings.HasPrefix(target, "/") {
		errs = append(errs, field.Invalid(path, target, "must be a relative path"))
	}
	return append(errs, NoBacksteps(path, target)...)
}

// NoBacksteps checks that no element of a path is "..".
func NoBacksteps(path *field.Path, target string) field.ErrorList {
	for e := range strings.SplitSeq(target, "/") {
		if e == ".." {
			return field.ErrorList{field.Invalid(path, target, "must not contain '..'")}
		}
	}
	return nil
}

// LocalPath is RelativePath for files in volumes, whose names must not begin with "..".
func LocalPath(path *field.Path, target string) field.ErrorList {
	errs := RelativePath(path, target)
	if len(target) > 2 && strings.HasPrefix(target, "..") && !strings.HasPrefix(target, "../") {
		errs = append(errs, field.Invalid(path, target, "must not start with '..'"))
	}
	return errs
}
