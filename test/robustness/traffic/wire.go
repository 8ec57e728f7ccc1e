package traffic

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"

	"github.com/pintle-dev/pintle/test/robustness/history"
)

// configMap is what the traffic knows of an object.
type configMap struct {
	APIVersion string            `json:"apiVersion,omitempty"`
	Kind       string            `json:"kind,omitempty"`
	Metadata   metadata          `json:"metadata"`
	Data       map[string]string `json:"data,omitempty"`
}

type metadata struct {
	Name            string `json:"name,omitempty"`
	Namespace       string `json:"namespace,omitempty"`
	UID             string `json:"uid,omitempty"`
	ResourceVersion string `json:"resourceVersion,omitempty"`
	Continue        string `json:"continue,omitempty"`
}

type configMapList struct {
	Metadata metadata    `json:"metadata"`
	Items    []configMap `json:"items"`
}

// status is metav1.Status, as far as it matters here.
type status struct {
	Kind    string `json:"kind"`
	Code    int    `json:"code"`
	Reason  string `json:"reason"`
	Message string `json:"message"`
	Details struct {
		UID               string `json:"uid"`
		RetryAfterSeconds int    `json:"retryAfterSeconds"`
	} `json:"details"`
}

// content of an object: what its last update put into v, and what its last patch since put
// into p.
func content(v, p string) map[string]string {
	m := map[string]string{"v": v}
	if p != "" {
		m["p"] = p
	}
	return m
}

func (m *configMap) key() history.Key {
	return history.Key(m.Metadata.Namespace + "/" + m.Metadata.Name)
}

func (m *configMap) version() (history.Version, error) {
	rv, err := strconv.ParseUint(m.Metadata.ResourceVersion, 10, 64)
	v := history.Version{Revision: rv, UID: m.Metadata.UID, Content: m.Data["v"]}
	if p := m.Data["p"]; p != "" {
		v.Content += "/" + p
	}
	if err == nil && (v.UID == "" || v.Content == "") {
		err = errors.New("an object without uid or content")
	}
	return v, err
}

// answer of a request: status is zero where none came.
type answer struct {
	status int
	body   []byte
	err    error
	retry  bool
}

func do(ctx context.Context, c *http.Client, method, url, contentType string, body any) answer {
	var in io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return answer{err: err}
		}
		in = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, url, in)
	if err != nil {
		return answer{err: err}
	}
	req.GetBody = nil // Never sent a second time by the transport.
	req.Header.Set("Accept", "application/json")
	if body != nil {
		req.Header.Set("Content-Type", contentType)
	}
	resp, err := c.Do(req)
	if err != nil {
		return answer{err: err}
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return answer{err: err} // The rest of the answer is lost with what it says.
	}
	return answer{status: resp.StatusCode, body: b, retry: resp.Header.Get("Retry-After") != ""}
}

// failed fills an operation with an answer that is no success.
func failed(op *history.Operation, a answer) {
	op.Status, op.Retriable = a.status, a.retry
	if a.status == 0 {
		op.Outcome, op.Message = history.Unknown, a.err.Error()
		return
	}
	var s status
	if err := json.Unmarshal(a.body, &s); err != nil || s.Kind != "Status" {
		op.Outcome, op.Message = history.Wrong, fmt.Sprintf("no Status: %.200s", a.body)
		return
	}
	op.Message = s.Reason + ": " + s.Message
	op.Outcome = outcome(a.status, s.Reason, a.retry)
}

// outcome tells what a client may conclude. Where the answer has Retry-After, client
// libraries send the same write again by themselves: so it must not have happened.
func outcome(code int, reason string, retry bool) history.Outcome {
	switch {
	case code == http.StatusConflict && reason == "AlreadyExists":
		return history.Exists
	case code == http.StatusConflict && reason == "Conflict":
		return history.Conflict
	case code == http.StatusNotFound && reason == "NotFound":
		return history.NotFound
	case retry && (code == http.StatusTooManyRequests || code == http.StatusServiceUnavailable || code == http.StatusInternalServerError):
		return history.Refused
	case code == http.StatusInsufficientStorage:
		return history.Refused
	case code == http.StatusGatewayTimeout, code == http.StatusServiceUnavailable, code == http.StatusInternalServerError:
		return history.Unknown
	case code == http.StatusGone, code == http.StatusUnauthorized:
		return history.Refused
	}
	return history.Wrong
}
