package policy_test

import (
	"fmt"
	"strings"
	"testing"
)

// denied is the message of a refusal of the ConfigMap x by policy p through its first binding.
func denied(why string) string {
	return `configmaps "x" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'p-0' denied request: ` + why
}

// TestValidating writes a ConfigMap under one policy. Messages and codes are those of
// kube-apiserver 1.36.3.
func TestValidating(t *testing.T) {
	for _, tt := range []struct {
		name, spec string
		bindings   []string
		data       string
		code       int
		message    string
		warnings   []string
		audited    map[string]string
	}{
		{name: "passes", spec: `{"validations":[{"expression":"object.data.a == '1'"}]}`, data: `{"a":"1"}`, code: 201},
		{name: "fails", spec: `{"validations":[{"expression":"object.data.a == '1'"}]}`, data: `{"a":"2"}`, code: 422,
			message: denied("failed expression: object.data.a == '1'")},
		{name: "no binding", spec: `{"validations":[{"expression":"false"}]}`, bindings: []string{}, code: 201},
		{name: "binding about others", spec: `{"validations":[{"expression":"false"}]}`, bindings: []string{`{"matchResources":{"objectSelector":{"matchLabels":{"no":"no"}}}}`}, code: 201},
		{name: "binding about the namespace", spec: `{"validations":[{"expression":"false"}]}`, code: 422, message: denied("failed expression: false"),
			bindings: []string{`{"matchResources":{"namespaceSelector":{"matchLabels":{"team":"a"}}}}`}},
		{name: "message and reason", spec: `{"validations":[{"expression":"false","message":"plain","reason":"Forbidden","messageExpression":"'dyn ' + object.metadata.name"}]}`,
			code: 403, message: denied("dyn x")},
		{name: "message of two lines", spec: `{"validations":[{"expression":"false","message":"plain","messageExpression":"'a\\nb'"}]}`, code: 422, message: denied("plain")},
		{name: "message that fails", spec: `{"validations":[{"expression":"false","reason":"RequestEntityTooLarge","messageExpression":"string(object.nope)"}]}`, code: 413,
			message: denied("failed expression: false")},
		{name: "error", spec: `{"validations":[{"expression":"object.nope == 1"}]}`, code: 422,
			message: denied("expression 'object.nope == 1' resulted in error: no such key: nope")},
		{name: "error ignored", spec: `{"failurePolicy":"Ignore","validations":[{"expression":"object.nope == 1"}]}`, code: 201},
		{name: "warn and audit", spec: `{"validations":[{"expression":"true"},{"expression":"false","message":"second"}]}`, bindings: []string{`{"validationActions":["Warn","Audit"]}`},
			code: 201, warnings: []string{`299 - "Validation failed for ValidatingAdmissionPolicy 'p' with binding 'p-0': second"`},
			audited: map[string]string{"validation.policy.admission.k8s.io/validation_failure": `[{"message":"second","policy":"p","binding":"p-0","expressionIndex":1,"validationActions":["Warn","Audit"]}]`}},
		{name: "warning and refusal", spec: `{"validations":[{"expression":"false"}]}`, bindings: []string{`{}`, `{"validationActions":["Warn"]}`}, code: 422,
			message: denied("failed expression: false"), warnings: []string{`299 - "Validation failed for ValidatingAdmissionPolicy 'p' with binding 'p-1': failed expression: false"`}},
		{name: "condition", spec: `{"matchConditions":[{"name":"c","expression":"object.data.a == 'go'"}],"validations":[{"expression":"false"}]}`, data: `{"a":"stay"}`, code: 201},
		{name: "condition that fails", spec: `{"matchConditions":[{"name":"c","expression":"object.nope == 'go'"}],"validations":[{"expression":"false"}]}`, code: 422,
			message: denied("expression 'object.nope == 'go'' resulted in error: no such key: nope")},
		{name: "false decides over errors", spec: `{"matchConditions":[{"name":"c","expression":"object.nope == 'go'"},{"name":"d","expression":"false"}],"validations":[{"expression":"false"}]}`, code: 201},
		{name: "condition that fails ignored", spec: `{"failurePolicy":"Ignore","matchConditions":[{"name":"c","expression":"object.nope == 'go'"}],"validations":[{"expression":"false"}]}`, code: 201},
		{name: "variables", spec: `{"variables":[{"name":"a","expression":"size(object.data)"},{"name":"b","expression":"variables.a * 2"}],"validations":[{"expression":"variables.b == 4","messageExpression":"'b is ' + string(variables.b)"}]}`,
			data: `{"x":"1"}`, code: 422, message: denied("b is 2")},
		{name: "variable that fails", spec: `{"variables":[{"name":"a","expression":"object.nope"}],"validations":[{"expression":"variables.a == 4"}]}`, code: 422,
			message: denied(`expression 'variables.a == 4' resulted in error: composited variable "a" fails to evaluate: no such key: nope`)},
		{name: "variable that is not needed", spec: `{"variables":[{"name":"a","expression":"object.nope"}],"validations":[{"expression":"true || variables.a == 4"}]}`, code: 201},
		{name: "request", spec: `{"validations":[{"expression":"false","messageExpression":"[request.operation, request.name, request.namespace, request.kind.kind, request.requestResource.resource, request.resource.version, string(request.dryRun), request.userInfo.username, string(request.options.kind), namespaceObject.metadata.name, namespaceObject.metadata.labels.team, string(oldObject == null)].join(' ')"}]}`,
			code: 422, message: denied("CREATE x default ConfigMap configmaps v1 false root CreateOptions default a true")},
		{name: "authorizer", spec: `{"validations":[{"expression":"authorizer.group('').resource('secrets').check('get').allowed()"},{"expression":"authorizer.requestResource.check('create').allowed()"},{"expression":"authorizer.serviceAccount('default','x').group('').resource('secrets').check('get').allowed()"}]}`,
			code: 422, message: denied("failed expression: authorizer.serviceAccount('default','x').group('').resource('secrets').check('get').allowed()")},
		{name: "audit annotations", spec: `{"auditAnnotations":[{"key":"k","valueExpression":"'v ' + object.metadata.name"},{"key":"n","valueExpression":"null"}]}`, code: 201,
			audited: map[string]string{"p/k": "v x"}},
		{name: "excluded", code: 201, spec: `{"matchConstraints":{"resourceRules":[{"apiGroups":[""],"apiVersions":["v1"],"operations":["CREATE"],"resources":["configmaps"]}],
			"excludeResourceRules":[{"apiGroups":[""],"apiVersions":["v1"],"operations":["CREATE"],"resources":["configmaps"],"resourceNames":["x"]}]},"validations":[{"expression":"false"}]}`},
		{name: "other operation", code: 201, spec: `{"matchConstraints":{"resourceRules":[{"apiGroups":[""],"apiVersions":["v1"],"operations":["UPDATE"],"resources":["configmaps"]}]},"validations":[{"expression":"false"}]}`},
		{name: "unknown parameter kind", spec: `{"paramKind":{"apiVersion":"no.dev/v1","kind":"No"},"validations":[{"expression":"true"}]}`, code: 422,
			message: `configmaps "x" is forbidden: ValidatingAdmissionPolicy 'p' denied request: failed to configure policy: failed to find resource referenced by paramKind: 'no.dev/v1, Kind=No'`},
		{name: "unknown parameter kind ignored", spec: `{"failurePolicy":"Ignore","paramKind":{"apiVersion":"no.dev/v1","kind":"No"},"validations":[{"expression":"true"}]}`, code: 201},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := newCluster(t)
			if tt.bindings == nil {
				tt.bindings = []string{"{}"}
			}
			if tt.data == "" {
				tt.data = `{"a":"1"}`
			}
			c.validating("p", tt.spec, tt.bindings...)
			r := c.Must(tt.code, "POST", configMaps, configMap("x", tt.data))
			if tt.code != 201 && r.Message() != tt.message {
				t.Errorf("message:\n have %s\n want %s", r.Message(), tt.message)
			}
			if have, want := fmt.Sprint(r.Header.Values("Warning")), fmt.Sprint(tt.warnings); have != want {
				t.Errorf("warnings: %s", have)
			}
			if have, want := fmt.Sprint(c.audited), fmt.Sprint(tt.audited); tt.audited != nil && have != want {
				t.Errorf("audited: %s, want %s", have, want)
			}
		})
	}
}

// TestParameters evaluates a policy with parameters that bindings name.
func TestParameters(t *testing.T) {
	const spec = `{"paramKind":{"apiVersion":"v1","kind":"ConfigMap"},"validations":[{"expression":"params != null && object.data.a == params.data.want","messageExpression":"'want ' + params.data.want + ' of ' + params.kind"}]}`
	ofRacks, ofWidgets := strings.ReplaceAll(spec, "ConfigMap", "Rack"), strings.NewReplacer("v1", "test.dev/v1beta1", "ConfigMap", "Widget", "data.want", "spec.size").Replace(spec)
	for _, tt := range []struct{ name, spec, ref, data, message string }{
		{"by name", spec, `{"name":"one","namespace":"default","parameterNotFoundAction":"Deny"}`, `{"a":"1"}`, ""},
		{"by name, refused", spec, `{"name":"one","namespace":"default","parameterNotFoundAction":"Deny"}`, `{"a":"2"}`, denied("want 1 of ConfigMap")},
		{"in the request's namespace", spec, `{"name":"one","parameterNotFoundAction":"Deny"}`, `{"a":"2"}`, denied("want 1 of ConfigMap")},
		{"by labels", spec, `{"selector":{"matchLabels":{"l":"1"}},"parameterNotFoundAction":"Deny"}`, `{"a":"1"}`, denied("want 2 of ConfigMap")},
		{"none, denied", spec, `{"name":"none","parameterNotFoundAction":"Deny"}`, `{"a":"1"}`, denied("failed to configure binding: no params found for policy binding with `Deny` parameterNotFoundAction")},
		{"none, allowed", spec, `{"name":"none","parameterNotFoundAction":"Allow"}`, `{"a":"1"}`, ""},
		{"no reference", spec, ``, `{"a":"1"}`, denied("failed expression: params != null && object.data.a == params.data.want")},
		{"of the cluster", ofRacks, `{"name":"rack","parameterNotFoundAction":"Deny"}`, `{"a":"2"}`, denied("want 1 of Rack")},
		{"of the cluster in a namespace", ofRacks, `{"name":"rack","namespace":"default","parameterNotFoundAction":"Deny"}`, `{"a":"2"}`,
			denied("failed to configure binding: paramRef.namespace must not be provided for a cluster-scoped `paramKind`")},
		{"in another version", ofWidgets, `{"name":"widget","parameterNotFoundAction":"Deny"}`, `{"a":"2"}`, denied("want 1 of Widget")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := newCluster(t)
			c.Must(201, "POST", configMaps, configMap("one", `{"want":"1"}`))
			c.Must(201, "POST", configMaps, configMap("two", `{"want":"2"}`))
			c.Must(201, "POST", "/api/v1/racks", `{"metadata":{"name":"rack"},"data":{"want":"1"}}`)
			c.Must(201, "POST", "/apis/test.dev/v1/namespaces/default/widgets", `{"apiVersion":"test.dev/v1","kind":"Widget","metadata":{"name":"widget"},"spec":{"size":"1"}}`)
			binding := "{}"
			if tt.ref != "" {
				binding = `{"paramRef":` + tt.ref + `}`
			}
			c.validating("p", tt.spec, binding)
			if tt.message == "" {
				c.Must(201, "POST", configMaps, configMap("x", tt.data))
			} else if r := c.Must(422, "POST", configMaps, configMap("x", tt.data)); r.Message() != tt.message {
				t.Errorf("\n have %s\n want %s", r.Message(), tt.message)
			}
		})
	}
	t.Run("namespaced for objects of the cluster", func(t *testing.T) {
		c := newCluster(t)
		c.validating("p", spec, `{"paramRef":{"name":"one","parameterNotFoundAction":"Deny"}}`)
		r := c.Must(422, "POST", "/api/v1/racks", `{"metadata":{"name":"x"},"data":{"a":"1"}}`)
		if want := "cannot use namespaced paramRef in policy binding that matches cluster-scoped resources"; !strings.Contains(r.Message(), want) {
			t.Error(r.Message())
		}
	})
}

// TestOperations asks policies about updates, patches, deletions and dry runs, and about
// objects that are in no namespace.
func TestOperations(t *testing.T) {
	c := newCluster(t)
	c.Must(201, "POST", configMaps, configMap("x", `{"a":"1"}`))
	c.validating("p", `{"matchConstraints":{"resourceRules":[{"apiGroups":[""],"apiVersions":["v1"],"operations":["UPDATE","DELETE"],"resources":["*"]}]},
		"validations":[{"expression":"false","messageExpression":"request.operation + ' ' + oldObject.data.a + ' ' + string(object == null) + ' ' + string(request.dryRun)"}]}`, "{}")
	for _, tt := range []struct{ method, query, body, want string }{
		{"PUT", "", configMap("x", `{"a":"2"}`), "UPDATE 1 false false"},
		{"PUT", "?dryRun=All", configMap("x", `{"a":"2"}`), "UPDATE 1 false true"},
		{"PATCH", "", `{"data":{"a":"2"}}`, "UPDATE 1 false false"},
		{"DELETE", "", "", "DELETE 1 true false"},
	} {
		r := c.Must(422, tt.method, configMaps+"/x"+tt.query, tt.body, "Content-Type", map[bool]string{true: "application/merge-patch+json", false: "application/json"}[tt.method == "PATCH"])
		if r.Message() != denied(tt.want) {
			t.Errorf("%s: %s", tt.method, r.Message())
		}
	}
	c.Must(200, "GET", configMaps+"/x", "")

	c.validating("cluster", `{"validations":[{"expression":"namespaceObject != null","messageExpression":"'no namespace: ' + (has(request.namespace) ? request.namespace : '') + ' ' + request.name"}]}`, "{}")
	if r := c.Must(422, "POST", "/api/v1/racks", `{"metadata":{"name":"r"}}`); !strings.Contains(r.Message(), "no namespace:  r") {
		t.Error(r.Message())
	}
	if r := c.Must(422, "POST", "/api/v1/namespaces", `{"metadata":{"name":"n"}}`); !strings.Contains(r.Message(), "no namespace: n n") {
		t.Error(r.Message())
	}
}

// TestEquivalent matches objects that are written in another version than a rule names.
func TestEquivalent(t *testing.T) {
	c := newCluster(t)
	rules := `"resourceRules":[{"apiGroups":["test.dev"],"apiVersions":["v1"],"operations":["CREATE"],"resources":["widgets"]}]`
	c.validating("exact", `{"matchConstraints":{"matchPolicy":"Exact",`+rules+`},"validations":[{"expression":"false"}]}`, "{}")
	const path, body = "/apis/test.dev/v1beta1/namespaces/default/widgets", `{"apiVersion":"test.dev/v1beta1","kind":"Widget","metadata":{"name":"x"}}`
	c.Must(201, "POST", path+"?dryRun=All", body)
	c.validating("p", `{"matchConstraints":{`+rules+`},"validations":[{"expression":"false","messageExpression":"[string(object.apiVersion), request.kind.version, request.requestKind.version, request.resource.version, request.requestResource.version].join(' ')"}]}`, "{}")
	if r := c.Must(422, "POST", path, body); !strings.HasSuffix(r.Message(), "denied request: test.dev/v1 v1 v1beta1 v1 v1beta1") {
		t.Error(r.Message())
	}
}

// TestPoliciesAreExempt keeps a policy about everything from locking its cluster.
func TestPoliciesAreExempt(t *testing.T) {
	c := newCluster(t)
	c.validating("p", `{"matchConstraints":{"resourceRules":[{"apiGroups":["*"],"apiVersions":["*"],"operations":["*"],"resources":["*/*"]}]},"validations":[{"expression":"false"}]}`, "{}")
	c.Must(422, "POST", configMaps, configMap("x", `{}`))
	c.Must(200, "DELETE", group+"validatingadmissionpolicybindings/p-0", "")
	c.Must(201, "POST", configMaps, configMap("x", `{}`))
}
