package apiserver_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/pintle-dev/pintle/core/apiserver"
	"github.com/pintle-dev/pintle/core/auth"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// grants lets the user "agent" do what they say, as "verb group/resource/subresource/name";
// others may do everything.
type grants struct {
	by    resource.User
	rules []string
}

func (g grants) Authenticate(*http.Request) (resource.User, bool, error) { return g.by, true, nil }

func (g grants) Authorize(_ context.Context, a auth.Attributes) (bool, string, error) {
	if a.User.Name != g.by.Name {
		return true, "", nil
	}
	what := fmt.Sprintf("%s %s/%s/%s/%s", a.Verb, a.Group, a.Resource, a.Subresource, a.Name)
	for _, r := range g.rules {
		if r == what {
			return true, "", nil
		}
	}
	return false, "no", nil
}

func TestImpersonation(t *testing.T) {
	agent := resource.User{Name: "agent"}
	onNode := resource.User{Name: "system:serviceaccount:kube-system:agent", Extra: map[string][]string{"authentication.kubernetes.io/node-name": {"n1"}}}
	const list = "test.dev/widgets//"
	for _, c := range []struct {
		name   string
		by     resource.User
		rules  string
		header []string
		code   int
		want   string // user and groups, or part of the message
	}{
		{"the old verb", agent, "impersonate /users//jane", []string{"User", "jane"}, 200, "jane [system:authenticated]"},
		{"the old verb is about each part", agent, "impersonate /users//jane", []string{"User", "jane", "Group", "dev"}, 403, "cannot impersonate-on:user-info:list"},
		{"groups", agent, "impersonate /users//jane, impersonate /groups//dev", []string{"User", "jane", "Group", "dev"}, 200, "jane [dev system:authenticated]"},
		{"masters by the old verb", agent, "impersonate /users//jane, impersonate /groups//system:masters", []string{"User", "jane", "Group", "system:masters"}, 200, "jane [system:masters system:authenticated]"},
		{"uid and extra", agent, "impersonate /users//jane, impersonate authentication.k8s.io/uids//7, impersonate authentication.k8s.io/userextras/scopes/view",
			[]string{"User", "jane", "Uid", "7", "Extra-Scopes", "view"}, 200, "jane 7 map[scopes:[view]] [system:authenticated]"},
		{"escaped key of extra", agent, "impersonate /users//jane, impersonate authentication.k8s.io/userextras/acme.com/x/v",
			[]string{"User", "jane", "Extra-Acme.com%2fX", "v"}, 200, "jane map[acme.com/x:[v]] [system:authenticated]"},
		{"extra without permission", agent, "impersonate /users//jane", []string{"User", "jane", "Extra-Scopes", "view"}, 403, ""},
		{"service account", agent, "impersonate /serviceaccounts//sa", []string{"User", "system:serviceaccount:ns:sa"}, 200,
			"system:serviceaccount:ns:sa [system:serviceaccounts system:serviceaccounts:ns system:authenticated]"},
		{"anonymous", agent, "impersonate /users//system:anonymous", []string{"User", "system:anonymous"}, 200, "system:anonymous [system:unauthenticated]"},
		{"groups without a user", agent, "", []string{"Group", "dev"}, 400, "without impersonating a user name"},
		{"extra without a user", agent, "", []string{"Extra-A", "dev"}, 400, "without impersonating a user name"},

		{"constrained user", agent, "impersonate-on:user-info:list " + list + ", impersonate:user-info authentication.k8s.io/users//jane", []string{"User", "jane"}, 200, "jane [system:authenticated]"},
		{"constrained, other verb", agent, "impersonate-on:user-info:get " + list + ", impersonate:user-info authentication.k8s.io/users//jane", []string{"User", "jane"}, 403, "impersonate-on:user-info:list"},
		{"constrained, the user alone", agent, "impersonate:user-info authentication.k8s.io/users//jane", []string{"User", "jane"}, 403, ""},
		{"constrained, never masters", agent, "impersonate-on:user-info:list " + list + ", impersonate:user-info authentication.k8s.io/users//jane, impersonate:user-info authentication.k8s.io/groups//system:masters",
			[]string{"User", "jane", "Group", "system:masters"}, 403, "impersonating the system:masters group is not allowed"},
		{"constrained service account", agent, "impersonate-on:serviceaccount:list " + list + ", impersonate:serviceaccount authentication.k8s.io/serviceaccounts//sa",
			[]string{"User", "system:serviceaccount:ns:sa"}, 200, "system:serviceaccount:ns:sa [system:serviceaccounts system:serviceaccounts:ns system:authenticated]"},
		{"constrained service account takes no groups", agent, "impersonate-on:serviceaccount:list " + list + ", impersonate:serviceaccount authentication.k8s.io/serviceaccounts//sa",
			[]string{"User", "system:serviceaccount:ns:sa", "Group", "x"}, 403, ""},
		{"any node", agent, "impersonate-on:arbitrary-node:list " + list + ", impersonate:arbitrary-node authentication.k8s.io/nodes//n1",
			[]string{"User", "system:node:n1"}, 200, "system:node:n1 [system:nodes system:authenticated]"},
		{"own node", onNode, "impersonate-on:associated-node:list " + list + ", impersonate:associated-node authentication.k8s.io/nodes//*",
			[]string{"User", "system:node:n1"}, 200, "system:node:n1 [system:nodes system:authenticated]"},
		{"another's node", onNode, "impersonate-on:associated-node:list " + list + ", impersonate:associated-node authentication.k8s.io/nodes//*",
			[]string{"User", "system:node:n2"}, 403, "impersonate-on:arbitrary-node:list"},
		{"a user is no node", agent, "impersonate-on:user-info:list " + list + ", impersonate:user-info authentication.k8s.io/users//system:node:n1", []string{"User", "system:node:n1"}, 403, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			var saw string
			g := grants{c.by, strings.Split(c.rules, ", ")}
			s := newServer(t, func(cfg *apiserver.Config) {
				cfg.Authenticator, cfg.Authorizer = g, spy{g, func(a auth.Attributes) {
					if a.User.Name != c.by.Name {
						saw = a.User.Name
						if a.User.UID != "" {
							saw += " " + a.User.UID
						}
						if a.User.Extra != nil {
							saw += fmt.Sprint(" ", a.User.Extra)
						}
						saw += fmt.Sprint(" ", a.User.Groups)
					}
				}}
			})
			r := s.do("GET", widgets, "", impersonating(c.header)...)
			if r.code != c.code {
				t.Fatalf("%d, want %d: %s", r.code, c.code, r.body)
			}
			if c.code == 200 && saw != c.want {
				t.Errorf("acts as %q, want %q", saw, c.want)
			}
			if c.code != 200 && !strings.Contains(string(r.body), c.want) {
				t.Errorf("%s, want %q in it", r.body, c.want)
			}
		})
	}
}

// spy tells of the questions an authorizer is asked.
type spy struct {
	auth.Authorizer
	tell func(auth.Attributes)
}

func (s spy) Authorize(ctx context.Context, a auth.Attributes) (bool, string, error) {
	s.tell(a)
	return s.Authorizer.Authorize(ctx, a)
}

// impersonating makes headers of pairs, whose keys are what follows Impersonate-.
func impersonating(pairs []string) []string {
	header := slices.Clone(pairs)
	for i := 0; i < len(header); i += 2 {
		header[i] = "Impersonate-" + header[i]
	}
	return header
}
