package plugintest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/pintle-dev/pintle/sdk/admission"
	"github.com/pintle-dev/pintle/sdk/remote"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// AdmissionCase is an admission plugin to be held to the contract.
type AdmissionCase struct {
	Case
	New func() admission.Admission
	// Requests with what is expected of them, by what they show.
	Requests map[string]AdmissionRequest
}

// AdmissionRequest is a request with what is expected of it.
type AdmissionRequest struct {
	// Request; its Operation, Resource and Object (or Old, of deletions) are needed. Kind,
	// Namespace and Name are the object's where they are empty. Decoded JSON has integers
	// as int64: see [Tree].
	Request resource.Request
	// Want is the object that it becomes, nil where it stays as it is.
	Want map[string]any
	// Refused is a part of the message with which it is refused, empty where it is admitted.
	Refused string
	// Warning is a part of a warning that is given.
	Warning string
	// Unasked says that no rule names the request, so that a host does not ask.
	Unasked bool
}

// Tree makes the tree of an object in JSON, as requests have them. It panics where it is none.
func Tree(text string) map[string]any {
	u := &unstructured.Unstructured{}
	if err := u.UnmarshalJSON([]byte(text)); err != nil {
		panic(fmt.Sprintf("plugintest.Tree: %v", err))
	}
	return u.Object
}

// RunAdmission holds an admission plugin to the contract: what it declares is whole and names
// the requests that it is to be asked about, it decides as expected, asked again about what it
// has made it changes nothing, it never changes what was there before, dry runs are decided as
// others, and all of it is the same in the host's process and behind gRPC.
func RunAdmission(t *testing.T, c AdmissionCase) {
	t.Helper()
	c.runBase(t, func(t testing.TB) *Harness { return Start(t, c.New()) })
	places := c.placements(t)
	t.Run("declaration", func(t *testing.T) {
		declared := map[string]admission.Declaration{}
		for name, a := range places {
			d := a.Declare()
			if err := d.Complete(); err != nil {
				t.Fatal(err)
			}
			declared[name] = d
			_, mutates := a.(admission.Mutator)
			_, validates := a.(admission.Validator)
			if !mutates && !validates {
				t.Error("it implements neither admission.Mutator nor admission.Validator")
			}
		}
		for place, d := range declared {
			if !reflect.DeepEqual(declared["builtin"], d) {
				t.Errorf("builtin: %+v\n%s: %+v", declared["builtin"], place, d)
			}
		}
		for name, q := range c.Requests {
			if asked := asksAbout(declared["builtin"].Rules, q.request()); asked == q.Unasked {
				t.Errorf("%s: rules name it: %v", name, asked)
			}
		}
	})
	for place, a := range places {
		for name, q := range c.Requests {
			if q.Unasked {
				continue
			}
			t.Run(place+"/"+name, func(t *testing.T) {
				q.check(t, a, false)
				q.check(t, a, true)
			})
		}
		t.Run(place+"/calls may come at the same time", func(t *testing.T) {
			var all sync.WaitGroup
			for range 8 {
				for _, q := range c.Requests {
					if !q.Unasked {
						all.Go(func() { _, _ = review(context.Background(), a, q.request()) })
					}
				}
			}
			all.Wait()
		})
	}
}

func (c AdmissionCase) placements(t *testing.T) map[string]admission.Admission {
	t.Helper()
	direct := c.New()
	configure(t, direct, c.Settings)
	out := map[string]admission.Admission{"builtin": direct}
	for place, start := range placements() {
		h := start(t, c.New())
		configure(t, h.Client, c.Settings)
		far, line, err := h.Client.Admission(t.Context())
		if err != nil {
			t.Fatalf("admission: %v", err)
		}
		t.Cleanup(line.Close)
		out[place] = far
	}
	return out
}

// request is a request of its own, with what was left out.
func (q AdmissionRequest) request() *admission.Request {
	base := q.Request
	if base.Object != nil {
		base.Object = runtime.DeepCopyJSON(base.Object)
	}
	if base.Old != nil {
		base.Old = runtime.DeepCopyJSON(base.Old)
	}
	object := base.Object
	if object == nil {
		object = base.Old
	}
	u := &unstructured.Unstructured{Object: object}
	if base.Kind.Empty() {
		base.Kind = u.GroupVersionKind()
	}
	if base.Namespace == "" {
		base.Namespace = u.GetNamespace()
	}
	if base.Name == "" {
		base.Name = u.GetName()
	}
	if base.Reader == nil {
		base.Reader = nothing{}
	}
	return &admission.Request{Request: &base, Annotate: func(string, string) {}}
}

func (q AdmissionRequest) check(t *testing.T, a admission.Admission, dryRun bool) {
	t.Helper()
	r := q.request()
	r.DryRun = dryRun
	changed, err := review(t.Context(), a, r)
	switch {
	case errors.Is(err, remote.ErrNoAnswer):
		t.Fatalf("no answer: %v", err)
	case q.Refused == "" && err != nil:
		t.Fatalf("refused: %v", err)
	case q.Refused != "" && err == nil:
		t.Fatalf("admitted, and should be refused with %q", q.Refused)
	case q.Refused != "" && !strings.Contains(message(err), q.Refused):
		t.Fatalf("refused with %q, want %q", message(err), q.Refused)
	}
	if q.Warning != "" && !slices.ContainsFunc(r.Warnings, func(w string) bool { return strings.Contains(w, q.Warning) }) {
		t.Errorf("warnings %q, want %q", r.Warnings, q.Warning)
	}
	if !reflect.DeepEqual(r.Old, q.Request.Old) {
		t.Error("it changed what was there before")
	}
	if q.Refused != "" {
		return
	}
	want := q.Want
	if want == nil {
		want = q.Request.Object
	}
	if !reflect.DeepEqual(r.Object, want) {
		t.Errorf("the object became\n%v\nwant\n%v", r.Object, want)
	}
	if did := !reflect.DeepEqual(r.Object, q.Request.Object); did && !changed {
		t.Error("Mutate changed the object and reports that it did not")
	}
	if m, ok := a.(admission.Mutator); ok && r.Object != nil {
		once := runtime.DeepCopyJSON(r.Object)
		r.Round = 1
		if _, err := m.Mutate(t.Context(), r); err != nil || !reflect.DeepEqual(r.Object, once) {
			t.Errorf("asked again about what it has made, it makes\n%v\nof\n%v\n%v", r.Object, once, err)
		}
	}
}

// review does what a host does.
func review(ctx context.Context, a admission.Admission, r *admission.Request) (changed bool, err error) {
	if m, ok := a.(admission.Mutator); ok {
		if changed, err = m.Mutate(ctx, r); err != nil {
			return changed, err
		}
	}
	if v, ok := a.(admission.Validator); ok {
		return changed, v.Validate(ctx, r)
	}
	return changed, nil
}

func message(err error) string {
	var status apierrors.APIStatus
	if errors.As(err, &status) {
		return status.Status().Message
	}
	return err.Error()
}

// asksAbout reports whether a rule names a request, but for the labels of its namespace.
func asksAbout(rules []admission.Rule, r *admission.Request) bool {
	oneOf := func(list []string, v string) bool { return slices.Contains(list, "*") || slices.Contains(list, v) }
	return slices.ContainsFunc(rules, func(rule admission.Rule) bool {
		ops := make([]string, 0, len(rule.Operations))
		for _, op := range rule.Operations {
			ops = append(ops, string(op))
		}
		named := slices.ContainsFunc(rule.Resources, func(text string) bool {
			plural, sub, _ := strings.Cut(text, "/")
			return (plural == "*" || plural == r.Resource.Resource) && (sub == "*" || sub == r.Subresource)
		})
		scope := rule.Scope == admission.AllScopes || (rule.Scope == admission.NamespacedScope) == (r.Namespace != "")
		return named && scope && oneOf(ops, string(r.Operation)) && oneOf(rule.APIGroups, r.Resource.Group) &&
			oneOf(rule.APIVersions, r.Resource.Version) && labelled(rule.ObjectSelector, r)
	})
}

func labelled(selector *metav1.LabelSelector, r *admission.Request) bool {
	if selector == nil {
		return true
	}
	s, err := metav1.LabelSelectorAsSelector(selector)
	if err != nil {
		return false
	}
	for _, object := range []map[string]any{r.Object, r.Old} {
		if object == nil {
			continue
		}
		u := unstructured.Unstructured{Object: object}
		if s.Matches(labels.Set(u.GetLabels())) {
			return true
		}
	}
	return false
}
