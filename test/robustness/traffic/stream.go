package traffic

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"github.com/pintle-dev/pintle/test/robustness/history"
)

// stream reads a list as a watch that begins with all objects (sendInitialEvents), as newer
// informers do, up to the bookmark that ends them.
func (c *Client) stream(ctx context.Context, op *history.Operation) {
	q := url.Values{
		"watch": {"1"}, "sendInitialEvents": {"true"}, "allowWatchBookmarks": {"true"},
		"resourceVersionMatch": {"NotOlderThan"}, "resourceVersion": {op.At},
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // The watch goes on otherwise.
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.Target.collection(op.Server, op.Namespace)+"?"+q.Encode(), nil)
	if err != nil {
		failed(op, answer{err: err})
		return
	}
	resp, err := c.HTTP.Do(req)
	if err != nil {
		failed(op, answer{err: err})
		return
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		b, err := io.ReadAll(resp.Body)
		failed(op, answer{status: resp.StatusCode, body: b, err: err, retry: resp.Header.Get("Retry-After") != ""})
		return
	}
	objects, in := map[history.Key]history.Version{}, bufio.NewReader(resp.Body)
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			failed(op, answer{err: err})
			return
		}
		end, err := c.initial(op, line, objects)
		if err != nil {
			op.Outcome, op.Message = history.Wrong, fmt.Sprintf("%v: %.300s", err, line)
			return
		}
		if end {
			op.Outcome, op.Objects = history.OK, objects
			return
		}
	}
}

// initial takes one initial event; end says that it was the last.
func (c *Client) initial(op *history.Operation, line []byte, objects map[history.Key]history.Version) (end bool, err error) {
	var frame struct {
		Type   string `json:"type"`
		Object struct {
			configMap
			Metadata struct {
				metadata
				Annotations map[string]string `json:"annotations"`
			} `json:"metadata"`
		} `json:"object"`
	}
	if err := json.Unmarshal(line, &frame); err != nil {
		return false, err
	}
	m := configMap{Metadata: frame.Object.Metadata.metadata, Data: frame.Object.Data}
	switch {
	case frame.Type == "BOOKMARK" && frame.Object.Metadata.Annotations["k8s.io/initial-events-end"] == "true":
		op.Revision, err = strconv.ParseUint(m.Metadata.ResourceVersion, 10, 64)
		return true, err
	case frame.Type != "ADDED":
		return false, fmt.Errorf("%s among the initial events", frame.Type)
	case !c.Target.covers(m.Metadata.Namespace):
		return false, nil
	}
	v, err := m.version()
	if _, twice := objects[m.key()]; twice && err == nil {
		err = fmt.Errorf("%s is there twice", m.key())
	}
	objects[m.key()] = v
	return false, err
}
