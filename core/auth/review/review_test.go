package review_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/pintle-dev/pintle/core/auth"
	"github.com/pintle-dev/pintle/core/auth/review"
	"github.com/pintle-dev/pintle/core/auth/tokens"
	"github.com/pintle-dev/pintle/core/store"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// authorizer allows jane to get pods, and all to get /healthz.
type authorizer struct{}

func (authorizer) Authorize(_ context.Context, a auth.Attributes) (bool, string, error) {
	switch {
	case a.Resource == "" && a.Path == "/healthz":
		return true, "everybody", nil
	case a.User.Name == "jane" && a.Verb == "get" && a.Resource == "pods" && a.Group == "":
		return true, "it is jane", nil
	case a.FieldSelector == "spec.nodeName=n1" && a.LabelSelector == "a=b":
		return true, "narrow", nil
	case a.User.Name == "foe":
		return false, "never", &auth.Denied{}
	}
	return false, "no", nil
}

// chosen is an authorizer of a file that names some types.
type chosen struct {
	authorizer
	types string
}

func (c chosen) Uses(typ string) bool { return strings.Contains(c.types, typ) }
func (c chosen) Incomplete() string   { return "" }

func TestRulesOfChosenAuthorizers(t *testing.T) {
	node := resource.User{Name: "system:node:n", Groups: []string{"system:nodes"}}
	for _, c := range []struct {
		types string
		user  resource.User
		want  string
	}{
		{"Node RBAC", resource.User{Name: "jane"}, `"resources":["jane@ns"]`},
		{"Node Webhook", resource.User{Name: "jane"}, `{"incomplete":false,"nonResourceRules":[],"resourceRules":[]}`},
		{"Node", node, `"evaluationError":"node authorizer does not support user rule resolution"`},
		{"Webhook", node, `"incomplete":false`},
	} {
		b := review.New(review.Config{Authorizer: chosen{types: c.types}, Rules: authorizer{}})
		hooks := b.Hooks(schema.GroupResource{Group: "authorization.k8s.io", Resource: "selfsubjectrulesreviews"}).(resource.Virtual)
		out, err := hooks.CreateVirtual(t.Context(), &resource.Request{User: c.user, Object: tree(`{"spec":{"namespace":"ns"}}`)})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := json.Marshal(out["status"]); err != nil || !strings.Contains(string(got), c.want) {
			t.Errorf("%s: %s %v, want %s", c.types, got, err, c.want)
		}
	}
}

func (authorizer) Rules(u resource.User, namespace string) []rbacv1.PolicyRule {
	return []rbacv1.PolicyRule{
		{Verbs: []string{"get"}, APIGroups: []string{""}, Resources: []string{u.Name + "@" + namespace}},
		{Verbs: []string{"get"}, NonResourceURLs: []string{"/x"}},
	}
}

// objects are stored objects by key.
type objects map[store.Key]string

func (o objects) Get(_ context.Context, key store.Key) (store.Object, error) {
	if data, ok := o[key]; ok {
		return store.Object{Key: key, Data: []byte(data)}, nil
	}
	return store.Object{}, store.ErrNotFound
}

// reader reads the same objects as trees.
type reader struct{ objects }

func (r reader) Get(_ context.Context, gr schema.GroupResource, namespace, name string) (map[string]any, error) {
	data, ok := r.objects[store.Key(gr.String()+"/"+namespace+"/"+name)]
	if !ok {
		return nil, nil
	}
	return tree(data), nil
}

func (reader) List(context.Context, schema.GroupResource, string) ([]map[string]any, error) {
	return nil, nil
}

func tree(text string) map[string]any {
	var out map[string]any
	if err := json.Unmarshal([]byte(text), &out); err != nil {
		panic(err)
	}
	integers(out)
	return out
}

// integers makes whole numbers int64, as the API server's decoder does.
func integers(m map[string]any) {
	for k, v := range m {
		switch v := v.(type) {
		case float64:
			m[k] = int64(v)
		case map[string]any:
			integers(v)
		}
	}
}

var stored = objects{
	"serviceaccounts/ns/sa": `{"metadata":{"name":"sa","namespace":"ns","uid":"sa-uid"}}`,
	"pods/ns/pod":           `{"metadata":{"name":"pod","namespace":"ns","uid":"pod-uid"},"spec":{"serviceAccountName":"sa","nodeName":"n1"}}`,
	"pods/ns/foreign":       `{"metadata":{"name":"foreign","namespace":"ns","uid":"f"},"spec":{"serviceAccountName":"other","nodeName":"n1"}}`,
	"secrets/ns/s":          `{"metadata":{"name":"s","namespace":"ns","uid":"s-uid"}}`,
	"nodes//n1":             `{"metadata":{"name":"n1","uid":"n1-uid"}}`,
}

var now = time.Unix(1_800_000_000, 0)

func service(t *testing.T) *tokens.Service {
	t.Helper()
	keys, err := tokens.OpenKeys(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	s, err := tokens.New(tokens.Config{Keys: keys, Objects: stored, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestReviews(t *testing.T) {
	svc := service(t)
	issued, err := svc.Issue(t.Context(), tokens.Request{Namespace: "ns", Name: "sa", UID: "sa-uid", Lifetime: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	opaque := auth.NewTokenStore()
	opaque.Register("opaque", resource.User{Name: "plugin"})
	b := review.New(review.Config{
		Authorizer: authorizer{}, Rules: authorizer{}, Audiences: svc.Audiences(),
		Tokens: auth.New(auth.Config{Tokens: []auth.TokenAuthenticator{opaque, svc}}),
	})
	defs, err := b.Definitions()
	if err != nil || len(defs) != 6 {
		t.Fatalf("%d definitions, %v", len(defs), err)
	}
	t.Run("a question has no name", func(t *testing.T) {
		r := &resource.Request{Object: tree(`{"metadata":{"name":"x"},"spec":{"user":"u","resourceAttributes":{}}}`)}
		_, err := b.Hooks(schema.GroupResource{Group: "authorization.k8s.io", Resource: "subjectaccessreviews"}).(resource.Virtual).CreateVirtual(t.Context(), r)
		if err == nil || !strings.Contains(err.Error(), "metadata: Invalid value") {
			t.Error(err)
		}
	})
	t.Run("nor labels in a namespace", func(t *testing.T) {
		r := &resource.Request{Namespace: "ns", Object: tree(`{"metadata":{"namespace":"ns","labels":{"a":"b"}},"spec":{"user":"u","resourceAttributes":{"namespace":"ns"}}}`)}
		_, err := b.Hooks(schema.GroupResource{Group: "authorization.k8s.io", Resource: "localsubjectaccessreviews"}).(resource.Virtual).CreateVirtual(t.Context(), r)
		if err == nil || !strings.Contains(err.Error(), `metadata: Invalid value: {"namespace":"ns","labels":{"a":"b"}}: must be empty except for namespace`) {
			t.Error(err)
		}
	})
	for _, c := range []struct{ name, kind, spec, want string }{ // want: the status, or part of the error after "!"
		{"self, allowed", "SelfSubjectAccessReview", `{"resourceAttributes":{"verb":"get","resource":"pods"}}`, `{"allowed":true,"reason":"it is jane"}`},
		{"self, refused", "SelfSubjectAccessReview", `{"resourceAttributes":{"verb":"delete","resource":"pods"}}`, `{"allowed":false,"reason":"no"}`},
		{"self, path", "SelfSubjectAccessReview", `{"nonResourceAttributes":{"verb":"get","path":"/healthz"}}`, `{"allowed":true,"reason":"everybody"}`},
		{"self, attributes without a resource", "SelfSubjectAccessReview", `{"resourceAttributes":{"verb":"get","name":"/healthz"}}`, `{"allowed":false,"reason":"no"}`},
		{"self, both", "SelfSubjectAccessReview", `{"resourceAttributes":{},"nonResourceAttributes":{}}`, `!spec.nonResourceAttributes: Invalid value`},
		{"selectors", "SelfSubjectAccessReview", `{"resourceAttributes":{"verb":"list","resource":"pods","fieldSelector":{"requirements":[{"key":"spec.nodeName","operator":"In","values":["n1"]}]},"labelSelector":{"rawSelector":"a=b"}}}`, `{"allowed":true,"reason":"narrow"}`},
		{"requirements of labels", "SelfSubjectAccessReview", `{"resourceAttributes":{"verb":"list","resource":"pods","fieldSelector":{"rawSelector":"spec.nodeName=n1"},"labelSelector":{"requirements":[{"key":"a","operator":"In","values":["b"]}]}}}`, `"allowed":false`},
		{"selector that can't be read", "SelfSubjectAccessReview", `{"resourceAttributes":{"verb":"list","resource":"pods","labelSelector":{"rawSelector":"=="}}}`, `"evaluationError":"spec.resourceAttributes.labelSelector ignored due to parse error"`},
		{"operator that is not known", "SelfSubjectAccessReview", `{"resourceAttributes":{"verb":"list","resource":"pods","fieldSelector":{"requirements":[{"key":"a","operator":"Near","values":["b"]},{"key":"spec.nodeName","operator":"In","values":["n1"]}]},"labelSelector":{"rawSelector":"a=b"}}}`, `{"allowed":true,"evaluationError":"spec.resourceAttributes.fieldSelector partially ignored due to parse error","reason":"narrow"}`},
		{"two forms of a selector", "SelfSubjectAccessReview", `{"resourceAttributes":{"fieldSelector":{"rawSelector":"a=b","requirements":[{"key":"a","operator":"Exists"}]}}}`, `!spec.resourceAttributes.fieldSelector.rawSelector: Invalid value: "a=b": may not specified at the same time as requirements`},
		{"no form of a selector", "SelfSubjectAccessReview", `{"resourceAttributes":{"labelSelector":{}}}`, `!spec.resourceAttributes.labelSelector.requirements: Required value: when spec.resourceAttributes.labelSelector is specified, requirements or rawSelector is required`},
		{"denied", "SubjectAccessReview", `{"user":"foe","resourceAttributes":{"verb":"get","resource":"pods"}}`, `{"allowed":false,"denied":true,"reason":"never"}`},
		{"self, none", "SelfSubjectAccessReview", `{}`, `!spec.resourceAttributes: Invalid value`},
		{"other user", "SubjectAccessReview", `{"user":"bob","resourceAttributes":{"verb":"get","resource":"pods"}}`, `{"allowed":false,"reason":"no"}`},
		{"no user", "SubjectAccessReview", `{"resourceAttributes":{"verb":"get","resource":"pods"}}`, `!spec.user: Invalid value`},
		{"local", "LocalSubjectAccessReview", `{"user":"jane","resourceAttributes":{"namespace":"ns","verb":"get","resource":"pods"}}`, `{"allowed":true,"reason":"it is jane"}`},
		{"local, other namespace", "LocalSubjectAccessReview", `{"user":"jane","resourceAttributes":{"namespace":"x","verb":"get","resource":"pods"}}`, `!must match metadata.namespace`},
		{"rules", "SelfSubjectRulesReview", `{"namespace":"ns"}`, `{"incomplete":false,"nonResourceRules":[{"nonResourceURLs":["/x"],"verbs":["get"]}],"resourceRules":[{"apiGroups":[""],"resources":["jane@ns"],"verbs":["get"]}]}`},
		{"rules, no namespace", "SelfSubjectRulesReview", `{}`, `!no namespace on request`},
		{"who am I", "SelfSubjectReview", `{}`, `{"userInfo":{"groups":["g"],"username":"jane"}}`},
		{"token", "TokenReview", `{"token":"` + issued.Token + `"}`, `"username":"system:serviceaccount:ns:sa"`},
		{"token, its audience", "TokenReview", `{"token":"` + issued.Token + `"}`, `"audiences":["https://kubernetes.default.svc.cluster.local"]`},
		{"token for others", "TokenReview", `{"token":"` + issued.Token + `","audiences":["vault"]}`, `"error":`},
		{"opaque token", "TokenReview", `{"token":"opaque"}`, `"username":"plugin"`},
		{"opaque token for others", "TokenReview", `{"token":"opaque","audiences":["vault"]}`, `{"error":"invalid bearer token","user":{}}`},
		{"unknown token", "TokenReview", `{"token":"nonsense"}`, `{"error":"invalid bearer token","user":{}}`},
		{"no token", "TokenReview", `{}`, `!token is required`},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, d := range defs {
				if d.Names.Kind != c.kind {
					continue
				}
				gvk := schema.GroupVersionKind{Group: d.Group, Version: "v1", Kind: c.kind}
				r := &resource.Request{
					Operation: resource.Create, Kind: gvk, Resource: gvk.GroupVersion().WithResource(d.Names.Plural), Namespace: "ns",
					User: resource.User{Name: "jane", Groups: []string{"g"}}, Object: map[string]any{"spec": tree(c.spec)},
				}
				out, err := b.Hooks(d.GroupResource()).(resource.Virtual).CreateVirtual(t.Context(), r)
				if want, bad := strings.CutPrefix(c.want, "!"); bad {
					if err == nil || !strings.Contains(err.Error(), want) {
						t.Errorf("error %v does not say %q", err, want)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				got, err := json.Marshal(out["status"])
				if err != nil {
					t.Fatal(err)
				}
				if !strings.Contains(string(got), c.want) {
					t.Errorf("status %s, want %s", got, c.want)
				}
				return
			}
			t.Fatalf("no definition of %s", c.kind)
		})
	}
}

func TestTokenRequest(t *testing.T) {
	svc := service(t)
	hook := review.TokenRequest(svc)
	admin := resource.User{Name: "admin"}
	n1 := resource.User{Name: "system:node:n1", Groups: []string{"system:nodes"}}
	n2 := resource.User{Name: "system:node:n2", Groups: []string{"system:nodes"}}
	bound := func(kind, name, uid string) string {
		return `"boundObjectRef":{"apiVersion":"v1","kind":"` + kind + `","name":"` + name + `","uid":"` + uid + `"}`
	}
	for _, c := range []struct {
		name string
		user resource.User
		body string
		want string        // part of the error
		life time.Duration // of the token, as its status says
		good time.Duration // how long it works
	}{
		{"plain", admin, `{"spec":{}}`, "", time.Hour, time.Hour},
		{"with lifetime", admin, `{"spec":{"expirationSeconds":7200}}`, "", 2 * time.Hour, 2 * time.Hour},
		{"too short", admin, `{"spec":{"expirationSeconds":599}}`, "may not specify a duration less than 10 minutes", 0, 0},
		{"too long", admin, `{"spec":{"expirationSeconds":4294967297}}`, "may not specify a duration larger than 2^32 seconds", 0, 0},
		{"other name", admin, `{"metadata":{"name":"x"},"spec":{}}`, "must match the service account name if specified", 0, 0},
		{"other namespace", admin, `{"metadata":{"namespace":"x"},"spec":{}}`, "must match the service account namespace", 0, 0},
		{"other uid", admin, `{"metadata":{"uid":"x"},"spec":{}}`, "does not match the UID of the service account", 0, 0},
		{"bound to a pod", admin, `{"spec":{` + bound("Pod", "pod", "pod-uid") + `}}`, "", time.Hour, time.Hour},
		{"extended", admin, `{"spec":{"expirationSeconds":3607,` + bound("Pod", "pod", "") + `}}`, "", 3607 * time.Second, 365 * 24 * time.Hour},
		{"not extended for others", admin, `{"spec":{"audiences":["vault"],"expirationSeconds":3607,` + bound("Pod", "pod", "") + `}}`, "", 3607 * time.Second, 3607 * time.Second},
		{"bound to a missing pod", admin, `{"spec":{` + bound("Pod", "gone", "") + `}}`, `pods "gone" not found`, 0, 0},
		{"bound to a pod made anew", admin, `{"spec":{` + bound("Pod", "pod", "old") + `}}`, "does not match the UID in record", 0, 0},
		{"bound to a pod of another account", admin, `{"spec":{` + bound("Pod", "foreign", "") + `}}`, `cannot bind token for serviceaccount "sa" to pod running with different serviceaccount name.`, 0, 0},
		{"bound to a secret", admin, `{"spec":{` + bound("Secret", "s", "s-uid") + `}}`, "", time.Hour, time.Hour},
		{"bound to a node", admin, `{"spec":{` + bound("Node", "n1", "") + `}}`, "", time.Hour, time.Hour},
		{"bound to something else", admin, `{"spec":{` + bound("ConfigMap", "c", "") + `}}`, "cannot bind token to object of type /v1, Kind=ConfigMap", 0, 0},
		{"node for its pod", n1, `{"spec":{` + bound("Pod", "pod", "pod-uid") + `}}`, "", time.Hour, time.Hour},
		{"node for another's pod", n2, `{"spec":{` + bound("Pod", "pod", "pod-uid") + `}}`, "pod scheduled on a different node", 0, 0},
		{"node without a pod", n1, `{"spec":{}}`, "node requested token not bound to a pod", 0, 0},
		{"node with a secret", n1, `{"spec":{` + bound("Secret", "s", "") + `}}`, "node requested token not bound to a pod", 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			defer func(was time.Time) { now = was }(now)
			r := &resource.Request{
				Operation: resource.Create, Subresource: "token", Namespace: "ns", Name: "sa", User: c.user, Object: tree(c.body), Reader: reader{stored},
				Resource: schema.GroupVersionResource{Version: "v1", Resource: "serviceaccounts"},
			}
			parent := tree(stored["serviceaccounts/ns/sa"])
			got, err := hook.CreateSubresource(t.Context(), r, parent)
			if c.want != "" {
				if err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("error %v does not say %q", err, c.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			status := got.Response["status"].(map[string]any)
			if want := now.Add(c.life).UTC().Format(time.RFC3339); status["expirationTimestamp"] != want {
				t.Errorf("expires %v, want %s", status["expirationTimestamp"], want)
			}
			if got.Response["kind"] != "TokenRequest" || got.Response["apiVersion"] != "authentication.k8s.io/v1" || got.Delete {
				t.Errorf("response %v", got)
			}
			audiences := []string{"vault", tokens.DefaultIssuer}
			for _, at := range []struct {
				after time.Duration
				ok    bool
			}{{0, true}, {c.good - time.Second, true}, {c.good + time.Second, false}} {
				now = time.Unix(1_800_000_000, 0).Add(at.after)
				if _, ok, err := svc.AuthenticateToken(t.Context(), status["token"].(string), audiences); ok != at.ok {
					t.Errorf("after %v: %v (%v), want %v", at.after, ok, err, at.ok)
				}
			}
		})
	}
}
