package webhook_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	authorizationv1beta1 "k8s.io/api/authorization/v1beta1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/apis/apiserver"
	"k8s.io/apiserver/pkg/apis/apiserver/validation"
	authorizationcel "k8s.io/apiserver/pkg/authorization/cel"

	"github.com/pintle-dev/pintle/core/auth"
	"github.com/pintle-dev/pintle/core/auth/internal/authtest"
	"github.com/pintle-dev/pintle/core/auth/webhook"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// serve answers posts with what f makes of them.
func serve[T any](t *testing.T, f func(calls int32, in *T) (int, any)) (*httptest.Server, *atomic.Int32) {
	t.Helper()
	var calls atomic.Int32
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer secret" || r.URL.Path != "/review" || r.Method != http.MethodPost {
			t.Errorf("%s %s as %s", r.Method, r.URL, r.Header.Get("Authorization"))
		}
		body, err := io.ReadAll(r.Body)
		in := new(T)
		if err == nil {
			err = json.Unmarshal(body, in)
		}
		if err != nil {
			t.Error(err)
		}
		code, out := f(calls.Add(1), in)
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		_ = json.NewEncoder(w).Encode(out)
	}))
	t.Cleanup(s.Close)
	return s, &calls
}

func TestTokens(t *testing.T) {
	s, calls := serve(t, func(n int32, in *authenticationv1.TokenReview) (int, any) {
		if in.Kind != "TokenReview" || in.APIVersion != "authentication.k8s.io/v1" {
			t.Errorf("%+v", in.TypeMeta)
		}
		out := authenticationv1.TokenReview{}
		switch in.Spec.Token {
		case "jane":
			out.Status = authenticationv1.TokenReviewStatus{Authenticated: true, User: authenticationv1.UserInfo{Username: "jane", UID: "7", Groups: []string{"dev"},
				Extra: map[string]authenticationv1.ExtraValue{"a": {"b"}}}}
		case "vault":
			out.Status = authenticationv1.TokenReviewStatus{Authenticated: true, User: authenticationv1.UserInfo{Username: "v"}, Audiences: []string{"vault"}}
		case "bad":
			out.Status.Error = "it is revoked"
		case "flaky":
			if n%2 == 1 {
				return http.StatusServiceUnavailable, nil
			}
			out.Status = authenticationv1.TokenReviewStatus{Authenticated: true, User: authenticationv1.UserInfo{Username: "f"}}
		case "broken":
			return http.StatusBadRequest, nil
		}
		return http.StatusCreated, out
	})
	for _, c := range []struct {
		token     string
		audiences []string
		want      string // user and audiences
		err       string
		asked     int32 // for two requests
	}{
		{"jane", nil, "jane 7 [dev] map[a:[b]] [api]", "", 1},
		{"jane", []string{"api", "x"}, "jane 7 [dev] map[a:[b]] [api]", "", 1},
		{"jane", []string{"x"}, "", "", 1},
		{"vault", []string{"vault"}, "v  [] map[] [vault]", "", 1},
		{"vault", nil, "", "", 1},
		{"unknown", nil, "", "", 1},
		{"bad", nil, "", "it is revoked", 2},
		{"flaky", nil, "f  [] map[] [api]", "", 2},
		{"broken", nil, "", "400", 2},
	} {
		t.Run(fmt.Sprint(c.token, c.audiences), func(t *testing.T) {
			a, err := webhook.NewToken(webhook.TokenConfig{Kubeconfig: authtest.Kubeconfig(t, s, "/review"), Audiences: []string{"api"}})
			if err != nil {
				t.Fatal(err)
			}
			calls.Store(0)
			for range 2 {
				u, ok, err := a.AuthenticateToken(t.Context(), c.token, c.audiences)
				if c.err != "" {
					if ok || err == nil || !strings.Contains(err.Error(), c.err) {
						t.Errorf("%v %v, want %q", ok, err, c.err)
					}
					continue
				}
				if err != nil || ok != (c.want != "") {
					t.Fatal(u, ok, err)
				}
				if got := fmt.Sprint(u.User.Name, " ", u.User.UID, " ", u.User.Groups, " ", u.User.Extra, " ", u.Audiences); ok && got != c.want {
					t.Errorf("%q, want %q", got, c.want)
				}
			}
			if n := calls.Load(); n != c.asked {
				t.Errorf("the server was asked %d times, want %d", n, c.asked)
			}
		})
	}
}

func TestManyRequestsAskOnce(t *testing.T) {
	held := make(chan struct{})
	s, calls := serve(t, func(int32, *authenticationv1.TokenReview) (int, any) {
		<-held
		return http.StatusOK, authenticationv1.TokenReview{Status: authenticationv1.TokenReviewStatus{Authenticated: true, User: authenticationv1.UserInfo{Username: "u"}}}
	})
	a, err := webhook.NewToken(webhook.TokenConfig{Kubeconfig: authtest.Kubeconfig(t, s, "/review")})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan bool)
	for range 20 {
		go func() {
			_, ok, _ := a.AuthenticateToken(t.Context(), "t", nil)
			done <- ok
		}()
	}
	close(held)
	for range 20 {
		if !<-done {
			t.Error("refused")
		}
	}
	if n := calls.Load(); n != 1 {
		t.Errorf("the server was asked %d times", n)
	}
}

func newAccess(t *testing.T, s *httptest.Server, now func() time.Time, change func(*apiserver.WebhookConfiguration)) *webhook.Access {
	t.Helper()
	file := authtest.Kubeconfig(t, s, "/review")
	cfg := apiserver.WebhookConfiguration{
		AuthorizedTTL: metav1.Duration{Duration: 5 * time.Minute}, CacheAuthorizedRequests: true,
		UnauthorizedTTL: metav1.Duration{Duration: 30 * time.Second}, CacheUnauthorizedRequests: true,
		Timeout: metav1.Duration{Duration: 3 * time.Second}, SubjectAccessReviewVersion: "v1", MatchConditionSubjectAccessReviewVersion: "v1",
		FailurePolicy:  apiserver.FailurePolicyNoOpinion,
		ConnectionInfo: apiserver.WebhookConnectionInfo{Type: "KubeConfigFile", KubeConfigFile: &file},
	}
	if change != nil {
		change(&cfg)
	}
	matcher, errs := validation.ValidateAndCompileMatchConditions(authorizationcel.NewDefaultCompiler(), cfg.MatchConditions)
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	w, err := webhook.NewAccess("hook", cfg, matcher, now)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func TestAccess(t *testing.T) {
	s, calls := serve(t, func(_ int32, in *authorizationv1.SubjectAccessReview) (int, any) {
		var st authorizationv1.SubjectAccessReviewStatus
		switch in.Spec.User {
		case "allowed":
			st = authorizationv1.SubjectAccessReviewStatus{Allowed: true, Reason: "friend"}
		case "denied":
			st = authorizationv1.SubjectAccessReviewStatus{Denied: true, Reason: "foe"}
		case "both":
			st = authorizationv1.SubjectAccessReviewStatus{Denied: true, Allowed: true}
		case "broken":
			return http.StatusForbidden, nil
		case "narrow":
			a := in.Spec.ResourceAttributes
			st.Allowed = a != nil && a.FieldSelector != nil && len(a.FieldSelector.Requirements) == 1 && a.FieldSelector.Requirements[0].Values[0] == "n1" &&
				a.LabelSelector != nil && a.LabelSelector.Requirements[0].Key == "app" && a.LabelSelector.Requirements[0].Operator == metav1.LabelSelectorOpIn
		case "path":
			st.Allowed = in.Spec.ResourceAttributes == nil && in.Spec.NonResourceAttributes.Path == "/x" && in.Spec.NonResourceAttributes.Verb == "get"
		}
		return http.StatusOK, authorizationv1.SubjectAccessReview{Status: st}
	})
	pods := auth.Attributes{Verb: "list", Version: "v1", Resource: "pods", Namespace: "ns"}
	deny := func(c *apiserver.WebhookConfiguration) { c.FailurePolicy = apiserver.FailurePolicyDeny }
	when := func(text string) func(*apiserver.WebhookConfiguration) {
		return func(c *apiserver.WebhookConfiguration) {
			c.MatchConditions = []apiserver.WebhookMatchCondition{{Expression: text}}
		}
	}
	for _, c := range []struct {
		name, user     string
		at             auth.Attributes
		change         func(*apiserver.WebhookConfiguration)
		allowed        bool
		denied, failed bool
		asked          int32 // for two requests
	}{
		{"allowed", "allowed", pods, nil, true, false, false, 1},
		{"denied", "denied", pods, nil, false, true, false, 1},
		{"no opinion", "other", pods, nil, false, false, false, 1},
		{"both", "both", pods, nil, false, true, true, 1},
		{"broken", "broken", pods, nil, false, false, true, 2},
		{"broken is a denial", "broken", pods, deny, false, true, true, 2},
		{"selectors", "narrow", auth.Attributes{Verb: "list", Resource: "pods", FieldSelector: "spec.nodeName=n1", LabelSelector: "app in (a,b)"}, nil, true, false, false, 1},
		{"selector that can't be read", "narrow", auth.Attributes{Verb: "list", Resource: "pods", FieldSelector: "a", LabelSelector: "=="}, nil, false, false, false, 1},
		{"path", "path", auth.Attributes{Verb: "get", Path: "/x"}, nil, true, false, false, 1},
		{"nothing kept of allowed", "allowed", pods, func(c *apiserver.WebhookConfiguration) { c.CacheAuthorizedRequests = false }, true, false, false, 2},
		{"nothing kept of others", "other", pods, func(c *apiserver.WebhookConfiguration) { c.CacheUnauthorizedRequests = false }, false, false, false, 2},
		{"condition is met", "allowed", pods, when("has(request.resourceAttributes) && request.resourceAttributes.namespace == 'ns'"), true, false, false, 1},
		{"condition is not met", "allowed", pods, when("request.user == 'x'"), false, false, false, 0},
		{"condition fails", "allowed", auth.Attributes{Path: "/x"}, when("request.resourceAttributes.namespace == 'ns'"), false, false, true, 0},
		{"condition fails and denies", "allowed", auth.Attributes{Path: "/x"}, func(c *apiserver.WebhookConfiguration) {
			when("request.resourceAttributes.namespace == 'ns'")(c)
			deny(c)
		}, false, true, true, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newAccess(t, s, nil, c.change)
			calls.Store(0)
			c.at.User = resource.User{Name: c.user, Groups: []string{"g"}, Extra: map[string][]string{"k": {"v"}}}
			for range 2 {
				ok, _, err := w.Authorize(t.Context(), c.at)
				if ok != c.allowed || auth.IsDenied(err) != c.denied || (auth.Failure(err) != nil) != c.failed {
					t.Errorf("%v %v, want allowed %v, denied %v, failed %v", ok, err, c.allowed, c.denied, c.failed)
				}
			}
			if n := calls.Load(); n != c.asked {
				t.Errorf("the server was asked %d times, want %d", n, c.asked)
			}
		})
	}
}

func TestAnswersAreForgotten(t *testing.T) {
	s, calls := serve(t, func(int32, *authorizationv1.SubjectAccessReview) (int, any) {
		return http.StatusOK, authorizationv1.SubjectAccessReview{Status: authorizationv1.SubjectAccessReviewStatus{Allowed: true}}
	})
	now := time.Now()
	w := newAccess(t, s, func() time.Time { return now }, nil)
	at := auth.Attributes{Verb: "get", Resource: "pods", User: resource.User{Name: "u"}}
	for i, after := range []time.Duration{0, 4 * time.Minute, 2 * time.Minute} {
		now = now.Add(after)
		if ok, _, err := w.Authorize(t.Context(), at); !ok {
			t.Fatal(err)
		}
		if want := []int32{1, 1, 2}[i]; calls.Load() != want {
			t.Errorf("step %d: asked %d times, want %d", i, calls.Load(), want)
		}
	}
}

func TestOldVersion(t *testing.T) {
	s, _ := serve(t, func(_ int32, in *authorizationv1beta1.SubjectAccessReview) (int, any) {
		if in.APIVersion != "authorization.k8s.io/v1beta1" || len(in.Spec.Groups) != 1 || in.Spec.ResourceAttributes.Resource != "pods" {
			t.Errorf("%+v", in)
		}
		return http.StatusOK, authorizationv1beta1.SubjectAccessReview{Status: authorizationv1beta1.SubjectAccessReviewStatus{Allowed: true}}
	})
	w := newAccess(t, s, nil, func(c *apiserver.WebhookConfiguration) { c.SubjectAccessReviewVersion = "v1beta1" })
	if ok, _, err := w.Authorize(t.Context(), auth.Attributes{Resource: "pods", User: resource.User{Name: "u", Groups: []string{"g"}}}); !ok || err != nil {
		t.Error(ok, err)
	}
}
