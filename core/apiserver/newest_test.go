package apiserver_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/pintle-dev/pintle/core/apiserver"
	"github.com/pintle-dev/pintle/core/store"
)

// deposed is the store of a server that leads when a request comes, and may not any more when
// it is answered.
type deposed struct {
	*store.Store
	lost bool
}

const ledThen store.Standing = 7

func (d *deposed) CatchUp(context.Context) (store.Standing, error) { return ledThen, nil }

func (d *deposed) Confirm(_ context.Context, at store.Standing) error {
	if at != ledThen {
		return fmt.Errorf("asked about standing %d", at)
	}
	if d.lost {
		return fmt.Errorf("%w: others have written", store.ErrNotLeader)
	}
	return nil
}

// What is judged by the state of a server that has lost the lead is not answered: not that an
// object is not there, nor that it is another, nor that there is nothing to change.
func TestJudgementsByAStateThatWasNotTheNewest(t *testing.T) {
	d := &deposed{}
	a := newTransactionAPI(t, func(c *apiserver.Config) {
		s, ok := c.Store.(*store.Store)
		if !ok {
			t.Fatalf("the store is %T", c.Store)
		}
		d.Store, c.Newest = s, d
	})
	const body = `{"metadata":{"name":"x"},"data":{"a":"1"}}`
	a.must(201, "POST", cms, body)
	requests := []struct {
		what, method, path, body string
		code                     int
	}{
		{"update of nothing", "PUT", cms + "/y", `{"metadata":{"name":"y","resourceVersion":"5"}}`, 404},
		{"deletion of nothing", "DELETE", cms + "/y", "", 404},
		{"creation of what exists", "POST", cms, body, 409},
		{"update of another state", "PUT", cms + "/x", `{"metadata":{"name":"x","resourceVersion":"1"}}`, 409},
		{"update that changes nothing", "PUT", cms + "/x", body, 200},
		{"transaction with a deletion of nothing", "POST", transactions,
			`{"operations":[{"verb":"delete","apiVersion":"v1","kind":"ConfigMap","namespace":"default","name":"y"}]}`, 404},
	}
	for _, r := range requests {
		a.must(r.code, r.method, r.path, r.body)
	}
	d.lost = true
	for _, r := range requests {
		t.Run(r.what, func(t *testing.T) {
			got := a.do(r.method, r.path, r.body)
			if got.code != 503 || got.header.Get("Retry-After") == "" {
				t.Errorf("%d %s, by a state that was not the newest", got.code, got.body)
			}
		})
	}
}
