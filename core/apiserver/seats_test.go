package apiserver_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pintle-dev/pintle/core/apiserver"
	"github.com/pintle-dev/pintle/core/apiserver/fairness"
	"github.com/pintle-dev/pintle/core/auth"
)

// turns lets requests in by a real controller and remembers how wide they were.
type turns struct {
	*fairness.Controller
	widths chan string
}

func (f turns) Admit(ctx context.Context, a *auth.Attributes, seats int) (fairness.Ticket, error) {
	select {
	case f.widths <- fmt.Sprintf("%s %s %d", a.Verb, a.Resource, seats):
	default:
	}
	return f.Controller.Admit(ctx, a, seats)
}

// With one seat in the whole server, which a watch gives back once it has sent what there
// was.
func TestFlowControlSeatsRequests(t *testing.T) {
	control, err := fairness.New(fairness.Config{Seats: 1, QueueWait: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	f := turns{control, make(chan string, 1000)}
	a := newTransactionAPI(t, func(c *apiserver.Config) { c.Fairness = f })
	header := a.do("GET", "/api/v1/namespaces/default", "").header
	for _, h := range []string{"X-Kubernetes-Pf-Flowschema-Uid", "X-Kubernetes-Pf-Prioritylevel-Uid"} {
		if _, ok := header[h]; !ok {
			t.Errorf("an answer has no %s", h)
		}
	}
	for i := range 250 {
		a.must(201, "POST", "/api/v1/namespaces/default/configmaps", fmt.Sprintf(`{"metadata":{"name":"c%d"}}`, i))
	}
	for len(f.widths) > 0 {
		<-f.widths
	}
	a.must(200, "GET", "/api/v1/configmaps", "")
	a.must(200, "GET", "/api/v1/configmaps?limit=150", "")
	a.must(200, "GET", "/api/v1/namespaces/default/configmaps/c1", "")
	a.must(201, "POST", transactions, body(createOp(configMap("small", "{}"))))
	a.must(201, "POST", transactions, body(createOp(configMap("large", fmt.Sprintf(`{"a":%q}`, strings.Repeat("x", 150<<10))))))
	for _, want := range []string{"list configmaps 3", "list configmaps 2", "get configmaps 1", "create transactions 1", "create transactions 3"} {
		if got := <-f.widths; got != want {
			t.Errorf("a request took %q, want %q", got, want)
		}
	}

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	resp, err := a.HTTP.Do(a.Request(ctx, http.MethodGet, "/api/v1/configmaps?watch=true&resourceVersion=0", ""))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := resp.Body.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	// Beside the watch, once it has sent what there is.
	for deadline := time.Now().Add(10 * time.Second); ; {
		r := a.do("GET", "/api/v1/namespaces/default", "")
		if r.code == http.StatusOK {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("a watch keeps its seat: %s", r.body)
		}
	}

	held, err := control.Admit(t.Context(), &auth.Attributes{Verb: "get", Path: "/x"}, 1)
	if err != nil {
		t.Fatal(err)
	}
	r := a.do("GET", "/api/v1/namespaces/default", "")
	if r.code != http.StatusTooManyRequests || r.header.Get("Retry-After") != "1" || string(r.body) != "Too many requests, please try again later.\n" {
		t.Errorf("without a free seat: %d, Retry-After %q: %s", r.code, r.header.Get("Retry-After"), r.body)
	}
	held.Release()
	a.must(200, "GET", "/api/v1/namespaces/default", "")
}
