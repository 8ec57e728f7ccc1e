package apiserver_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"

	"github.com/pintle-dev/pintle/core/apiserver"
	"github.com/pintle-dev/pintle/core/apiserver/corev1"
	"github.com/pintle-dev/pintle/core/auth"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// TestOperationsAreAudited: each operation is an event as a single write is, beside that of
// the transaction, and says what became of it.
func TestOperationsAreAudited(t *testing.T) {
	a, j := newAuditedAPI(t, "omitStages: [RequestReceived]\nrules: [{level: RequestResponse}]\n")
	if err := a.server.Install(corev1.Bundle()); err != nil {
		t.Fatal(err)
	}
	a.must(201, "POST", cms, `{"metadata":{"name":"live"},"data":{"a":"1"}}`)
	patch := `{"verb":"patch","apiVersion":"v1","kind":"ConfigMap","namespace":"default","name":"live","patchType":"application/merge-patch+json","patch":{"data":{"b":"2"}}}`
	for _, step := range []struct {
		id   string
		code int
		ops  []string
		want []string // verb, object, code and reason of each operation
	}{
		{"done", 201, []string{createOp(configMap("new", "{}")), patch},
			[]string{"create new 201 ", "patch live 200 "}},
		{"refused", 409, []string{createOp(configMap("other", "{}")), createOp(configMap("live", "{}"))},
			[]string{"create other 409 AlreadyExists", "create live 409 AlreadyExists"}},
	} {
		a.must(step.code, "POST", transactions, body(step.ops...), "Audit-ID", step.id)
		outer := j.of(t, step.id, 1)[0]
		if outer.Verb != "create" || outer.ObjectRef.Resource != "transactions" || int(outer.ResponseStatus.Code) != step.code {
			t.Errorf("%s: %+v", step.id, outer)
		}
		for i, want := range step.want {
			ev := j.of(t, fmt.Sprint(step.id, "-", i), 1)[0]
			got := fmt.Sprint(ev.Verb, " ", ev.ObjectRef.Name, " ", ev.ResponseStatus.Code, " ", ev.ResponseStatus.Reason)
			if got != want || ev.Annotations["core.pintle.dev/transaction"] != step.id || ev.Annotations["authorization.k8s.io/decision"] != "allow" ||
				ev.ObjectRef.Namespace != "default" || ev.User.Username != "root" || !strings.HasPrefix(ev.RequestURI, cms) || ev.Stage != auditv1.StageResponseComplete {
				t.Errorf("%s, operation %d: %s, want %s: %+v", step.id, i, got, want, ev)
			}
			if step.code == 201 {
				stored := a.must(200, "GET", cms+"/"+ev.ObjectRef.Name, "").body
				if ev.RequestObject == nil || string(ev.ResponseObject.Raw) != string(stored) {
					t.Errorf("%s, operation %d: asked %s, answered %s, stored is %s", step.id, i, ev.RequestObject, ev.ResponseObject.Raw, stored)
				}
			}
		}
	}
}

// limited lets everybody patch configmaps, the creator create them, and nobody delete them or
// create transactions.
type limited struct{}

func (limited) Authenticate(r *http.Request) (resource.User, bool, error) {
	groups := []string{"system:authenticated"}
	name := r.Header.Get("X-User")
	if name == "system:anonymous" {
		groups = []string{"system:unauthenticated"}
	}
	return resource.User{Name: name, Groups: groups}, true, nil
}

func (limited) Authorize(_ context.Context, a auth.Attributes) (bool, string, error) {
	return a.User.Name == "" || a.Resource == "configmaps" && a.Verb != "delete" && (a.Verb != "create" || a.User.Name == "creator"), "", nil
}

func TestEachOperationIsAuthorized(t *testing.T) {
	a := newTransactionAPI(t, func(c *apiserver.Config) { c.Authenticator, c.Authorizer = limited{}, limited{} })
	apply := func(name string) string {
		return `{"verb":"patch","patchType":"application/apply-patch+yaml","options":{"fieldManager":"me"},"object":` + configMap(name, "{}") + `}`
	}
	remove := `{"verb":"delete","apiVersion":"v1","kind":"ConfigMap","namespace":"default","name":"x"}`
	for _, step := range []struct {
		user string
		code int
		ops  []string
		want string
	}{
		{"creator", 201, []string{createOp(configMap("x", "{}")), apply("y")}, ""},
		{"creator", 403, []string{createOp(configMap("z", "{}")), remove}, `operations[1] (delete`},
		{"patcher", 201, []string{apply("x"), apply("y")}, ""},
		{"patcher", 403, []string{apply("x"), apply("made")}, `cannot create resource`},
		{"creator", 403, []string{createOp(`{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"n"}}`)}, `cannot create resource \"namespaces\"`},
		{"system:anonymous", 403, []string{apply("x")}, `transactions.core.pintle.dev is forbidden`},
	} {
		r := a.do("POST", transactions, body(step.ops...), "X-User", step.user)
		if r.code != step.code || !strings.Contains(string(r.body), step.want) {
			t.Errorf("%s with %v: %d %s", step.user, step.ops, r.code, r.body)
		}
	}
}
