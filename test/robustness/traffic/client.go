package traffic

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/pintle-dev/pintle/test/robustness/history"
)

const mergePatch = "application/merge-patch+json"

// Target is where traffic goes.
type Target struct {
	// URLs of the servers, and the number of the first of them.
	URLs []string
	Base int
	// Namespaces that exist, and the number of names used in each.
	Namespaces []string
	Names      int
	// Transactions are sent too.
	Transactions bool
}

func (t *Target) collection(server int, namespace string) string {
	if namespace == "" {
		return t.URLs[server] + "/api/v1/configmaps"
	}
	return t.URLs[server] + "/api/v1/namespaces/" + namespace + "/configmaps"
}

func (t *Target) object(server int, k history.Key) string {
	namespace, name, _ := strings.Cut(string(k), "/")
	return t.collection(server, namespace) + "/" + name
}

// Client does one operation after the other.
type Client struct {
	ID      int
	HTTP    *http.Client
	Target  *Target
	History *history.History
	Rand    *rand.Rand
	// Pause between operations, on average.
	Pause time.Duration
	// Timeout of a request.
	Timeout time.Duration

	// server that it talks to, until that gives no answer.
	server int
	// known are the versions it saw last.
	known map[history.Key]history.Version
}

// Run does operations until ctx ends; the last one is finished.
func (c *Client) Run(ctx context.Context) {
	c.known = map[history.Key]history.Version{}
	c.server = c.Rand.IntN(len(c.Target.URLs))
	for ctx.Err() == nil {
		op := c.generate()
		call, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.Timeout)
		c.Perform(call, &op)
		cancel()
		op.Return = c.History.Now()
		c.learn(&op)
		c.History.Add(op)
		pause := rand.N(2*c.Pause + 1)
		if op.Outcome == history.Unknown || op.Outcome == history.Refused || c.Rand.IntN(8) == 0 {
			c.server = c.Rand.IntN(len(c.Target.URLs))
			pause += 20 * time.Millisecond
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
	}
}

func (c *Client) key() history.Key {
	t := c.Target
	return history.Key(fmt.Sprintf("%s/k%d", t.Namespaces[c.Rand.IntN(len(t.Namespaces))], c.Rand.IntN(t.Names)))
}

// generate decides what comes next.
func (c *Client) generate() history.Operation {
	op := history.Operation{ID: c.History.NextID(), Client: c.ID, Server: c.server}
	switch n := c.Rand.IntN(100); {
	case n < 60 || (n < 70 && !c.Target.Transactions):
		op.Changes = []history.Change{c.change(op.ID, 0, c.key())}
		op.Kind = op.Changes[0].Verb
	case n < 70:
		op.Kind = history.Transaction
		seen := map[history.Key]bool{}
		for i := range 2 + c.Rand.IntN(3) {
			if k := c.key(); !seen[k] {
				seen[k] = true
				op.Changes = append(op.Changes, c.change(op.ID, i, k))
			}
		}
	case n < 85:
		op.Kind, op.Key = history.Get, c.key()
		if c.Rand.IntN(4) == 0 {
			op.At = "0"
		}
	default:
		c.generateList(&op)
	}
	return op
}

func (c *Client) generateList(op *history.Operation) {
	op.Kind = history.List
	if c.Rand.IntN(3) > 0 {
		op.Namespace = c.Target.Namespaces[c.Rand.IntN(len(c.Target.Namespaces))]
	}
	switch c.Rand.IntN(7) {
	case 0:
		op.At = "0"
	case 1: // not older than, or exactly, a revision that was seen
		for _, v := range c.known {
			if op.At = strconv.FormatUint(v.Revision, 10); c.Rand.IntN(3) == 0 {
				break
			}
		}
		op.Exact = op.At != "" && c.Rand.IntN(2) == 0
	case 2:
		op.Pages = 1
	case 3:
		op.Stream = true
		if c.Rand.IntN(3) == 0 {
			op.At = "0"
		}
	}
}

// change makes one write. Its content names the operation, so that no two are alike.
func (c *Client) change(id, part int, k history.Key) history.Change {
	ch := history.Change{Key: k, Content: fmt.Sprintf("%d.%d", id, part)}
	v, seen := c.known[k]
	n := c.Rand.IntN(100)
	switch {
	case !seen || v.Revision == 0 || n < 12:
		ch.Verb = history.Create
		return ch
	case n < 50:
		ch.Verb, ch.GuardRevision = history.Update, v.Revision
	case n < 58:
		ch.Verb = history.Update
	case n < 80:
		ch.Verb = history.Patch
		if n < 64 {
			ch.GuardRevision = v.Revision
		}
	default:
		ch.Verb, ch.Content = history.Delete, ""
		if n < 88 {
			ch.GuardRevision = v.Revision
		} else if n < 94 {
			ch.GuardUID = v.UID
		}
	}
	return ch
}

// learn keeps what an answer says about objects.
func (c *Client) learn(op *history.Operation) {
	switch op.Outcome {
	case history.OK:
	case history.NotFound:
		for _, ch := range op.Changes {
			delete(c.known, ch.Key)
		}
		delete(c.known, op.Key)
		return
	case history.Exists, history.Conflict:
		// Reading is what a client does next.
		for _, ch := range op.Changes {
			if _, ok := c.known[ch.Key]; !ok {
				c.known[ch.Key] = history.Version{Revision: 1, UID: "unknown"}
			}
		}
		return
	default:
		return
	}
	for _, ch := range op.Changes {
		if ch.Verb == history.Delete {
			delete(c.known, ch.Key)
		} else if ch.Result != nil {
			c.known[ch.Key] = *ch.Result
		}
	}
	for k, v := range op.Objects {
		c.known[k] = v
	}
}

// Perform sends the operation and fills in what came back.
func (c *Client) Perform(ctx context.Context, op *history.Operation) {
	op.Call = c.History.Now()
	switch op.Kind {
	case history.Get:
		c.get(ctx, op)
	case history.List:
		if op.Stream {
			c.stream(ctx, op)
		} else {
			c.list(ctx, op)
		}
	case history.Transaction:
		c.transact(ctx, op)
	default:
		c.write(ctx, op)
	}
}

func (c *Client) get(ctx context.Context, op *history.Operation) {
	u := c.Target.object(op.Server, op.Key)
	if op.At != "" {
		u += "?resourceVersion=" + op.At
	}
	a := do(ctx, c.HTTP, http.MethodGet, u, "", nil)
	if a.status != http.StatusOK {
		failed(op, a)
		return
	}
	gotten(op, a.body)
}

func (c *Client) write(ctx context.Context, op *history.Operation) {
	ch := &op.Changes[0]
	namespace, _, _ := strings.Cut(string(ch.Key), "/")
	var a answer
	url := c.Target.object(op.Server, ch.Key)
	switch ch.Verb {
	case history.Create:
		a = do(ctx, c.HTTP, http.MethodPost, c.Target.collection(op.Server, namespace), "application/json", objectOf(ch))
	case history.Update:
		a = do(ctx, c.HTTP, http.MethodPut, url, "application/json", objectOf(ch))
	case history.Patch:
		a = do(ctx, c.HTTP, http.MethodPatch, url, mergePatch, patchOf(ch))
	case history.Delete:
		a = do(ctx, c.HTTP, http.MethodDelete, url, "application/json", deletion(ch))
	}
	if a.status != http.StatusOK && a.status != http.StatusCreated {
		failed(op, a)
		return
	}
	op.Status, op.Outcome = a.status, history.OK
	if err := answered(ch, a.body); err != nil {
		op.Outcome, op.Message = history.Wrong, err.Error()
	}
}
