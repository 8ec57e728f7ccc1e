package policy_test

import (
	"context"
	"encoding/json"
	"os"
	"slices"
	"testing"

	runtimeschema "k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/pintle-dev/pintle/core/admission/match"
	"github.com/pintle-dev/pintle/core/admission/policy"
	"github.com/pintle-dev/pintle/crd/registry"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// TestObjectsAreCheckedAsUpstreamDoes compares with the causes that kube-apiserver 1.36.3
// gives for the same objects.
func TestObjectsAreCheckedAsUpstreamDoes(t *testing.T) {
	data, err := os.ReadFile("testdata/checks.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		Resource string
		Spec     map[string]any
		Causes   []string
	}
	if err := json.Unmarshal(data, &cases); err != nil {
		t.Fatal(err)
	}
	reg := registry.New()
	p, err := policy.New(policy.Config{Registry: reg, Equivalents: match.NewRegistry(reg), Authorizer: people{}})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		spec, err := json.Marshal(c.Spec)
		if err != nil {
			t.Fatal(err)
		}
		object := map[string]any{"kind": kinds[c.Resource], "metadata": map[string]any{"name": "polhelper-inv"}, "spec": c.Spec}
		defaults(object)
		r := &resource.Request{Operation: resource.Create, Object: object, User: resource.User{Name: "root"}, Reader: nothing{},
			Resource: runtimeschema.GroupVersionResource{Group: "admissionregistration.k8s.io", Version: "v1", Resource: c.Resource}}
		var got []string
		for _, e := range p.Check(context.Background(), r) {
			got = append(got, string(e.Type)+" "+e.Field+": "+e.ErrorBody())
		}
		slices.Sort(got)
		slices.Sort(c.Causes)
		if got = slices.Compact(got); !slices.Equal(got, c.Causes) {
			t.Errorf("%s %.300s:\n have %q\n want %q", c.Resource, spec, got, c.Causes)
		}
	}
}

// nothing is stored.
type nothing struct{}

func (nothing) Get(context.Context, runtimeschema.GroupResource, string, string) (map[string]any, error) {
	return nil, nil
}

func (nothing) List(context.Context, runtimeschema.GroupResource, string) ([]map[string]any, error) {
	return nil, nil
}

// TestAuthorsMayReadWhatTheyUse has users write policies about parameters that they may or
// may not read.
func TestAuthorsMayReadWhatTheyUse(t *testing.T) {
	c := newCluster(t)
	spec := `{"matchConstraints":` + about + `,"paramKind":{"apiVersion":"test.dev/v1","kind":"Widget"},"validations":[{"expression":"true"}]}`
	create := func(kind, name, spec string) string {
		return `{"apiVersion":"admissionregistration.k8s.io/v1","kind":"` + kind + `","metadata":{"name":"` + name + `"},"spec":` + spec + `}`
	}
	const policies, bindings = group + "validatingadmissionpolicies", group + "validatingadmissionpolicybindings"
	for _, tt := range []struct {
		user, path, body string
		code             int
		field, message   string
	}{
		{"half", policies, create("ValidatingAdmissionPolicy", "a", spec), 422, "spec.paramKind",
			`Forbidden: user &{half  [] map[]} must have "get" permission on all objects of the referenced paramKind (kind=Widget, apiVersion=test.dev/v1)`},
		{"full", policies, create("ValidatingAdmissionPolicy", "a", spec), 201, "", ""},
		{"half", bindings, create("ValidatingAdmissionPolicyBinding", "a", `{"policyName":"a","validationActions":["Deny"],"paramRef":{"name":"w","parameterNotFoundAction":"Deny"}}`),
			422, "spec.paramRef", `Forbidden: user &{half  [] map[]} does not have "get" permission on the object referenced by paramRef`},
		{"half", bindings, create("ValidatingAdmissionPolicyBinding", "a", `{"policyName":"a","validationActions":["Deny"],"paramRef":{"selector":{},"parameterNotFoundAction":"Deny"}}`),
			422, "spec.paramRef", `Forbidden: user &{half  [] map[]} does not have "list" permission on the object referenced by paramRef`},
		{"full", bindings, create("ValidatingAdmissionPolicyBinding", "b", `{"policyName":"nope","validationActions":["Deny"],"paramRef":{"name":"w","parameterNotFoundAction":"Deny"}}`),
			422, "spec.paramRef", `Forbidden: unable to get policy nope to determine minimum required permissions and user &{full  [] map[]} does not have "get" permission for all groups, versions and resources`},
		{"full", bindings, create("ValidatingAdmissionPolicyBinding", "a", `{"policyName":"a","validationActions":["Deny"],"paramRef":{"name":"w","parameterNotFoundAction":"Deny"}}`), 201, "", ""},
	} {
		r := c.Must(tt.code, "POST", tt.path, tt.body, "X-User", tt.user)
		if tt.code == 201 {
			continue
		}
		details, _ := r.Object()["details"].(map[string]any)
		causes, _ := details["causes"].([]any)
		cause, _ := causes[0].(map[string]any)
		if cause["field"] != tt.field || cause["message"] != tt.message {
			t.Errorf("%s %s: %v", tt.user, tt.path, cause)
		}
	}
}

// TestStoredExpressionsStayValid updates a policy with what was accepted before.
func TestStoredExpressionsStayValid(t *testing.T) {
	c := newCluster(t)
	c.validating("a", `{"variables":[{"name":"x","expression":"1"}],"validations":[{"expression":"variables.x == 1"}],"matchConditions":[{"name":"m","expression":"true"}]}`)
	path := group + "validatingadmissionpolicies/a"
	c.Must(200, "PATCH", path, `{"metadata":{"labels":{"a":"b"}}}`, "Content-Type", "application/merge-patch+json")
	c.Must(422, "PATCH", path, `{"spec":{"validations":[{"expression":"variables.y == 1"}]}}`, "Content-Type", "application/merge-patch+json")
}
