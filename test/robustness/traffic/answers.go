package traffic

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/pintle-dev/pintle/test/robustness/history"
)

const pageSize = 4

func patchOf(ch *history.Change) map[string]any {
	p := map[string]any{"data": map[string]string{"p": ch.Content}}
	if ch.GuardRevision != 0 {
		p["metadata"] = map[string]string{"resourceVersion": strconv.FormatUint(ch.GuardRevision, 10)}
	}
	return p
}

func deletion(ch *history.Change) map[string]any {
	guards := map[string]string{}
	if ch.GuardRevision != 0 {
		guards["resourceVersion"] = strconv.FormatUint(ch.GuardRevision, 10)
	}
	if ch.GuardUID != "" {
		guards["uid"] = ch.GuardUID
	}
	o := map[string]any{"kind": "DeleteOptions", "apiVersion": "v1"}
	if len(guards) > 0 {
		o["preconditions"] = guards
	}
	return o
}

// answered fills in what a successful write answered.
func answered(ch *history.Change, body []byte) error {
	if ch.Verb == history.Delete {
		var s status
		if err := json.Unmarshal(body, &s); err != nil || s.Kind != "Status" || s.Details.UID == "" {
			return fmt.Errorf("a deletion answered without the uid of what it deleted: %.200s", body)
		}
		ch.Result = &history.Version{UID: s.Details.UID}
		return nil
	}
	var m configMap
	if err := json.Unmarshal(body, &m); err != nil {
		return fmt.Errorf("no ConfigMap: %.200s", body)
	}
	v, err := m.version()
	if err != nil {
		return fmt.Errorf("%w: %.300s", err, body)
	}
	if m.key() != ch.Key {
		return fmt.Errorf("a write of %s answered with %s", ch.Key, m.key())
	}
	ch.Result = &v
	return nil
}

// object fills in the object that a get answered.
func gotten(op *history.Operation, body []byte) {
	var m configMap
	err := json.Unmarshal(body, &m)
	if err == nil && m.key() != op.Key {
		err = fmt.Errorf("a get of %s answered with %s", op.Key, m.key())
	}
	v, verr := m.version()
	if err = errors.Join(err, verr); err != nil {
		op.Outcome, op.Message = history.Wrong, fmt.Sprintf("%v: %.300s", err, body)
		return
	}
	op.Outcome, op.Objects = history.OK, map[history.Key]history.Version{op.Key: v}
}

// list reads all pages. The pages of one list may come from different servers.
func (c *Client) list(ctx context.Context, op *history.Operation) {
	paged, server := op.Pages > 0, op.Server
	q := url.Values{}
	if op.At != "" {
		q.Set("resourceVersion", op.At)
	}
	if op.Exact {
		q.Set("resourceVersionMatch", "Exact")
	} else if op.At != "" {
		q.Set("resourceVersionMatch", "NotOlderThan")
	}
	if paged {
		q.Set("limit", strconv.Itoa(pageSize))
	}
	op.Pages = 0
	objects := map[history.Key]history.Version{}
	for {
		a := do(ctx, c.HTTP, http.MethodGet, c.Target.collection(server, op.Namespace)+"?"+q.Encode(), "", nil)
		if a.status != http.StatusOK {
			failed(op, a)
			return
		}
		next, err := c.page(op, a.body, objects)
		if err != nil {
			op.Outcome, op.Message = history.Wrong, fmt.Sprintf("page %d: %v", op.Pages, err)
			return
		}
		if paged {
			op.Pages++
		}
		if next == "" {
			break
		}
		if !paged {
			op.Outcome, op.Message = history.Wrong, "a list that was not asked for in pages has more of them"
			return
		}
		q = url.Values{"limit": {strconv.Itoa(pageSize)}, "continue": {next}}
		server = c.Rand.IntN(len(c.Target.URLs))
	}
	op.Outcome, op.Objects = history.OK, objects
}

func (c *Client) page(op *history.Operation, body []byte, objects map[history.Key]history.Version) (next string, err error) {
	var l configMapList
	if err := json.Unmarshal(body, &l); err != nil {
		return "", err
	}
	rv, err := strconv.ParseUint(l.Metadata.ResourceVersion, 10, 64)
	if err != nil {
		return "", err
	}
	if op.Pages > 0 && rv != op.Revision {
		return "", fmt.Errorf("at revision %d, and the first was at %d", rv, op.Revision)
	}
	op.Revision = rv
	for i := range l.Items {
		m := &l.Items[i]
		if !c.Target.covers(m.Metadata.Namespace) {
			continue
		}
		v, err := m.version()
		if err != nil {
			return "", err
		}
		if _, twice := objects[m.key()]; twice {
			return "", fmt.Errorf("%s is there twice", m.key())
		}
		objects[m.key()] = v
	}
	return l.Metadata.Continue, nil
}

// covers says whether a namespace belongs to the traffic: others have objects of the
// servers' own.
func (t *Target) covers(namespace string) bool {
	for _, n := range t.Namespaces {
		if n == namespace {
			return true
		}
	}
	return false
}

// objectOf is the object that a change writes.
func objectOf(ch *history.Change) configMap {
	namespace, name, _ := strings.Cut(string(ch.Key), "/")
	m := configMap{
		APIVersion: "v1", Kind: "ConfigMap",
		Metadata: metadata{Name: name, Namespace: namespace, UID: ch.GuardUID}, Data: content(ch.Content, ""),
	}
	if ch.GuardRevision != 0 {
		m.Metadata.ResourceVersion = strconv.FormatUint(ch.GuardRevision, 10)
	}
	return m
}
