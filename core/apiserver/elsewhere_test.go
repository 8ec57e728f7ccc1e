package apiserver_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pintle-dev/pintle/core/apiserver"
	"github.com/pintle-dev/pintle/core/apiserver/fairness"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// elsewhere is a server that never answers.
type elsewhere struct{ asked chan bool }

func (elsewhere) Serves(path string) bool { return strings.HasPrefix(path, "/apis/elsewhere/") }

func (e elsewhere) Serve(_ http.ResponseWriter, r *http.Request, _ resource.User) bool {
	_, bounded := r.Context().Deadline()
	e.asked <- bounded
	<-r.Context().Done()
	return true
}

// What lasts at another server keeps no seat, and what does not last has an end.
func TestRequestsServedElsewhere(t *testing.T) {
	control, err := fairness.New(fairness.Config{Seats: 1, QueueWait: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	e := elsewhere{make(chan bool)}
	a := newAPI(t, func(c *apiserver.Config) { c.Fairness, c.Aggregator = control, e })
	for _, c := range []struct {
		path    string
		bounded bool
	}{
		{"/apis/elsewhere/v1/things?watch=true", false},
		{"/apis/elsewhere/v1/namespaces/default/things/a/exec?command=x", false},
		{"/apis/elsewhere/v1/things", true},
		{"/apis/elsewhere/v1", true},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			if resp, err := a.HTTP.Do(a.Request(ctx, "GET", c.path, "")); err == nil {
				resp.Body.Close()
			}
		}()
		if bounded := <-e.asked; bounded != c.bounded {
			t.Errorf("%s has a deadline: %t", c.path, bounded)
		}
		want := 200
		if c.bounded {
			want = 429
		}
		if r := a.do("GET", "/api/v1/namespaces/default", ""); r.code != want {
			t.Errorf("beside %s: %d, want %d", c.path, r.code, want)
		}
		cancel()
		<-ended
		a.withRoom(200, "GET", "/api/v1/namespaces/default", "")
	}
}
