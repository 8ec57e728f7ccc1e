package tokens_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/pintle-dev/pintle/core/auth/tokens"
	"github.com/pintle-dev/pintle/core/store"
)

// objects are stored objects by key.
type objects map[store.Key]string

func (o objects) Get(_ context.Context, key store.Key) (store.Object, error) {
	data, ok := o[key]
	if !ok {
		return store.Object{}, store.ErrNotFound
	}
	return store.Object{Key: key, Data: []byte(data)}, nil
}

func (o objects) put(key store.Key, uid string, deleted time.Time) {
	at := ""
	if !deleted.IsZero() {
		at = fmt.Sprintf(`"deletionTimestamp":%q,`, deleted.UTC().Format(time.RFC3339))
	}
	o[key] = fmt.Sprintf(`{"metadata":{%s"uid":%q}}`, at, uid)
}

type fixture struct {
	*tokens.Service
	objects objects
	now     time.Time
	dir     string
}

func newFixture(t testing.TB) *fixture {
	t.Helper()
	f := &fixture{objects: objects{}, now: time.Unix(1_800_000_000, 0), dir: t.TempDir()}
	f.objects.put("serviceaccounts/ns/sa", "sa-uid", time.Time{})
	f.objects.put("pods/ns/pod", "pod-uid", time.Time{})
	f.objects.put("secrets/ns/secret", "secret-uid", time.Time{})
	f.objects.put("nodes//node", "node-uid", time.Time{})
	f.Service = f.open(t, "")
	return f
}

func (f *fixture) open(t testing.TB, issuer string) *tokens.Service {
	t.Helper()
	keys, err := tokens.OpenKeys(f.dir)
	if err != nil {
		t.Fatal(err)
	}
	s, err := tokens.New(tokens.Config{Keys: keys, Issuer: issuer, Objects: f.objects, Now: func() time.Time { return f.now }})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (f *fixture) issue(t testing.TB, change func(*tokens.Request)) string {
	t.Helper()
	r := tokens.Request{Namespace: "ns", Name: "sa", UID: "sa-uid", Lifetime: time.Hour}
	if change != nil {
		change(&r)
	}
	issued, err := f.Issue(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	return issued.Token
}

func boundPod(r *tokens.Request) {
	r.Pod = &tokens.Bound{Name: "pod", UID: "pod-uid"}
	r.Node = &tokens.Bound{Name: "node", UID: "node-uid"}
}

func TestUserOfToken(t *testing.T) {
	f := newFixture(t)
	got, ok, err := f.AuthenticateToken(t.Context(), f.issue(t, boundPod), nil)
	if !ok || err != nil {
		t.Fatal(ok, err)
	}
	u := got.User
	if u.Name != "system:serviceaccount:ns:sa" || u.UID != "sa-uid" ||
		strings.Join(u.Groups, ",") != "system:serviceaccounts,system:serviceaccounts:ns" {
		t.Errorf("user %+v", u)
	}
	for k, want := range map[string]string{
		"authentication.kubernetes.io/pod-name": "pod", "authentication.kubernetes.io/pod-uid": "pod-uid",
		"authentication.kubernetes.io/node-name": "node", "authentication.kubernetes.io/node-uid": "node-uid",
	} {
		if v := u.Extra[k]; len(v) != 1 || v[0] != want {
			t.Errorf("extra %s: %v, want %s", k, v, want)
		}
	}
	if id := u.Extra["authentication.kubernetes.io/credential-id"]; len(id) != 1 || !strings.HasPrefix(id[0], "JTI=") {
		t.Errorf("credential id %v", id)
	}
}

func TestTokensDieWithWhatTheyAreBoundTo(t *testing.T) {
	secret := func(r *tokens.Request) { r.Secret = &tokens.Bound{Name: "secret", UID: "secret-uid"} }
	node := func(r *tokens.Request) { r.Node = &tokens.Bound{Name: "node", UID: "node-uid"} }
	for _, c := range []struct {
		name   string
		bind   func(*tokens.Request)
		change func(*fixture)
		want   string // part of the error; empty means that the token is good
	}{
		{"nothing happens", boundPod, func(*fixture) {}, ""},
		{"account deleted", nil, func(f *fixture) { delete(f.objects, "serviceaccounts/ns/sa") }, `service account "ns/sa" of the token no longer exists`},
		{"account made anew", nil, func(f *fixture) { f.objects.put("serviceaccounts/ns/sa", "other", time.Time{}) }, "has UID other"},
		{"pod deleted", boundPod, func(f *fixture) { delete(f.objects, "pods/ns/pod") }, `pod "ns/pod"`},
		{"pod made anew", boundPod, func(f *fixture) { f.objects.put("pods/ns/pod", "other", time.Time{}) }, "issued for pod-uid"},
		{"pod within its grace period", boundPod, func(f *fixture) { f.objects.put("pods/ns/pod", "pod-uid", f.now.Add(10*time.Second)) }, ""},
		{"pod long past its grace period", boundPod, func(f *fixture) { f.objects.put("pods/ns/pod", "pod-uid", f.now.Add(-2*time.Minute)) }, "has been deleted"},
		{"node of a pod deleted", boundPod, func(f *fixture) { delete(f.objects, "nodes//node") }, ""},
		{"node deleted", node, func(f *fixture) { delete(f.objects, "nodes//node") }, `node "node"`},
		{"secret deleted", secret, func(f *fixture) { delete(f.objects, "secrets/ns/secret") }, `secret "ns/secret"`},
		{"expired", nil, func(f *fixture) { f.now = f.now.Add(time.Hour + time.Second) }, "expired"},
		{"not yet valid", nil, func(f *fixture) { f.now = f.now.Add(-time.Minute) }, "not valid yet"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFixture(t)
			token := f.issue(t, c.bind)
			c.change(f)
			_, ok, err := f.AuthenticateToken(t.Context(), token, nil)
			if c.want == "" {
				if !ok || err != nil {
					t.Fatalf("%v %v", ok, err)
				}
				return
			}
			if ok || err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("ok %v, error %v, want %q", ok, err, c.want)
			}
		})
	}
}

// A verdict is believed for ten seconds and no longer, and never past the token's end.
func TestCachedVerdict(t *testing.T) {
	f := newFixture(t)
	token := f.issue(t, boundPod)
	check := func(want bool) {
		t.Helper()
		if _, ok, err := f.AuthenticateToken(t.Context(), token, nil); ok != want {
			t.Fatalf("ok %v %v, want %v", ok, err, want)
		}
	}
	check(true)
	delete(f.objects, "pods/ns/pod")
	f.now = f.now.Add(9 * time.Second)
	check(true)
	f.now = f.now.Add(time.Second)
	check(false)
	f.objects.put("pods/ns/pod", "pod-uid", time.Time{})
	check(true)
	f.now = f.now.Add(time.Hour - 11*time.Second)
	check(true)
	f.now = f.now.Add(2 * time.Second)
	check(false)
}

func TestAudiences(t *testing.T) {
	f := newFixture(t)
	own := f.issue(t, nil)
	vault := f.issue(t, func(r *tokens.Request) { r.Audiences = []string{"vault", "other"} })
	for _, c := range []struct {
		name, token string
		asked       []string
		want        string
	}{
		{"own", own, nil, tokens.DefaultIssuer},
		{"own, asked for", own, []string{tokens.DefaultIssuer, "x"}, tokens.DefaultIssuer},
		{"own for vault", own, []string{"vault"}, ""},
		{"vault for the API server", vault, nil, ""},
		{"vault for vault", vault, []string{"x", "vault"}, "vault"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, ok, err := f.AuthenticateToken(t.Context(), c.token, c.asked)
			if ok != (c.want != "") || strings.Join(got.Audiences, ",") != c.want {
				t.Errorf("%v %v %v, want %q", got.Audiences, ok, err, c.want)
			}
		})
	}
}

// Every change of a token makes it worthless.
func TestTampering(t *testing.T) {
	f := newFixture(t)
	good := f.issue(t, nil)
	parts := strings.Split(good, ".")
	enc := base64.RawURLEncoding.EncodeToString
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	admin := strings.ReplaceAll(string(payload), `"sa"`, `"admin"`)
	admin = strings.ReplaceAll(admin, "ns:sa", "ns:admin")
	attacker := newFixture(t) // with keys of its own
	attacker.objects = f.objects
	for name, token := range map[string]string{
		"another account":    parts[0] + "." + enc([]byte(admin)) + "." + parts[2],
		"no signature":       parts[0] + "." + parts[1] + ".",
		"algorithm none":     enc([]byte(`{"alg":"none","typ":"JWT"}`)) + "." + parts[1] + ".",
		"algorithm HS256":    hmacWithPublicKey(t, f, string(payload)),
		"key of another":     attacker.issue(t, nil),
		"other issuer":       issueFrom(t, f, "https://elsewhere"),
		"trailing garbage":   good + "x",
		"subject mismatched": signed(t, f, strings.ReplaceAll(string(payload), `"sub":"system:serviceaccount:ns:sa"`, `"sub":"system:serviceaccount:ns:root"`)),
		"without expiry":     signed(t, f, without(t, payload, "exp")),
		"without account":    signed(t, f, without(t, payload, "kubernetes.io")),
	} {
		t.Run(name, func(t *testing.T) {
			for range 2 {
				if _, ok, err := f.AuthenticateToken(t.Context(), token, nil); ok || (err == nil) != (name == "other issuer") {
					t.Errorf("accepted: %v (error %v)", ok, err) // another issuer's may be known to others
				}
			}
		})
	}
	if _, ok, err := f.AuthenticateToken(t.Context(), good, nil); !ok {
		t.Errorf("the good one is refused: %v", err)
	}
	if _, ok, err := f.AuthenticateToken(t.Context(), "opaque", nil); ok || err != nil {
		t.Errorf("a token of another sort: %v %v", ok, err)
	}
}

func without(t *testing.T, payload []byte, claim string) string {
	var m map[string]any
	if err := json.Unmarshal(payload, &m); err != nil {
		t.Fatal(err)
	}
	delete(m, claim)
	out, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// signed signs a payload with the cluster's own key.
func signed(t *testing.T, f *fixture, payload string) string {
	data, err := os.ReadFile(filepath.Join(f.dir, "sa.key"))
	if err != nil {
		t.Fatal(err)
	}
	key, err := jwt.ParseECPrivateKeyFromPEM(data)
	if err != nil {
		t.Fatal(err)
	}
	var claims jwt.MapClaims
	if err := json.Unmarshal([]byte(payload), &claims); err != nil {
		t.Fatal(err)
	}
	token := jwt.NewWithClaims(jwt.SigningMethodES256, claims)
	token.Header["kid"] = keyID(t, f)
	out, err := token.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func keyID(t *testing.T, f *fixture) string {
	head, err := base64.RawURLEncoding.DecodeString(strings.Split(f.issue(t, nil), ".")[0])
	if err != nil {
		t.Fatal(err)
	}
	var h struct{ Kid string }
	if err := json.Unmarshal(head, &h); err != nil {
		t.Fatal(err)
	}
	return h.Kid
}

func hmacWithPublicKey(t *testing.T, f *fixture, payload string) string {
	handler, err := f.Handler("")
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, tokens.JWKSPath, nil))
	var claims jwt.MapClaims
	if err := json.Unmarshal([]byte(payload), &claims); err != nil {
		t.Fatal(err)
	}
	token := jwt.NewWithClaims(jwt.SigningMethodHS256, claims)
	token.Header["kid"] = keyID(t, f)
	out, err := token.SignedString(w.Body.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func issueFrom(t *testing.T, f *fixture, issuer string) string {
	issued, err := f.open(t, issuer).Issue(t.Context(), tokens.Request{Namespace: "ns", Name: "sa", UID: "sa-uid", Lifetime: time.Hour, Audiences: []string{tokens.DefaultIssuer}})
	if err != nil {
		t.Fatal(err)
	}
	return issued.Token
}

func TestRotation(t *testing.T) {
	f := newFixture(t)
	old := f.issue(t, nil)
	if err := os.Rename(filepath.Join(f.dir, "sa.key"), filepath.Join(f.dir, "sa-2026.key")); err != nil {
		t.Fatal(err)
	}
	f.Service = f.open(t, "")
	for name, token := range map[string]string{"old": old, "new": f.issue(t, nil)} {
		if _, ok, err := f.AuthenticateToken(t.Context(), token, nil); !ok {
			t.Errorf("%s token: %v", name, err)
		}
	}
	if n := len(keySet(t, f)); n != 2 {
		t.Errorf("%d public keys, want 2", n)
	}
	if err := os.Remove(filepath.Join(f.dir, "sa-2026.key")); err != nil {
		t.Fatal(err)
	}
	f.Service = f.open(t, "")
	if _, ok, _ := f.AuthenticateToken(t.Context(), old, nil); ok {
		t.Error("a token of a removed key is accepted")
	}
}

func keySet(t *testing.T, f *fixture) []map[string]string {
	t.Helper()
	h, err := f.Handler("https://192.0.2.1/openid/v1/jwks")
	if err != nil {
		t.Fatal(err)
	}
	get := func(path string, into any) {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		if err := json.Unmarshal(w.Body.Bytes(), into); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
	}
	var configuration struct {
		Issuer  string
		JwksURI string `json:"jwks_uri"`
	}
	get(tokens.ConfigurationPath, &configuration)
	if configuration.Issuer != tokens.DefaultIssuer || configuration.JwksURI != "https://192.0.2.1/openid/v1/jwks" {
		t.Errorf("configuration %+v", configuration)
	}
	var set struct{ Keys []map[string]string }
	get(tokens.JWKSPath, &set)
	for _, k := range set.Keys {
		if k["alg"] != "ES256" || k["kid"] == "" || len(k["x"]) != 43 || len(k["y"]) != 43 {
			t.Errorf("key %v", k)
		}
	}
	return set.Keys
}

func TestDamagedKeys(t *testing.T) {
	for _, c := range []struct{ file, data, want string }{
		{"sa.key", "", "sa.key"},
		{"sa.key", "-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----\n", "not a valid EC private key"},
		{"sa-old.pub", "nonsense", "sa-old.pub"},
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, c.file), []byte(c.data), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := tokens.OpenKeys(dir); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v does not say %q", c.file, err, c.want)
		}
	}
}

func FuzzAuthenticateToken(f *testing.F) {
	fix := newFixture(f)
	good := fix.issue(f, boundPod)
	f.Add(good)
	f.Add("a.b.c")
	f.Add("..")
	f.Add("eyJhbGciOiJub25lIn0.e30.")
	f.Fuzz(func(t *testing.T, token string) {
		if _, ok, _ := fix.AuthenticateToken(t.Context(), token, nil); ok && token != good && !sameSignature(token, good) {
			t.Errorf("accepted %q", token)
		}
	})
}

// sameSignature allows for spellings of the same token: unused bits at the end of its
// last part do not change the signature.
func sameSignature(a, b string) bool {
	cut := func(s string) string { return s[:max(len(s)-1, 0)] }
	return cut(a) == cut(b)
}

func BenchmarkAuthenticateToken(b *testing.B) {
	f := newFixture(b)
	token := f.issue(b, boundPod)
	b.ReportAllocs()
	for b.Loop() {
		if _, ok, err := f.AuthenticateToken(b.Context(), token, nil); !ok {
			b.Fatal(err)
		}
	}
}
