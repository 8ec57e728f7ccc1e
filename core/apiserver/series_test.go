package apiserver_test

import (
	"context"
	"strings"
	"testing"

	"github.com/pintle-dev/pintle/core/apiserver"
	"github.com/pintle-dev/pintle/core/auth"
)

// notNonsense allows all but what does not exist.
type notNonsense struct{}

func (notNonsense) Authorize(_ context.Context, a auth.Attributes) (bool, string, error) {
	return !strings.Contains(a.Group+a.Subresource+a.Resource, "nonsense"), "", nil
}

// Requests that differ by their code only are one in the times and sizes; what was asked for
// in vain is no label.
func TestRequestSeries(t *testing.T) {
	a := newAPI(t, func(c *apiserver.Config) { c.Authorizer = notNonsense{} })
	a.must(400, "POST", pods, `{`)
	a.must(415, "POST", pods, `{}`, "Content-Type", "text/plain")
	a.must(403, "GET", "/apis/nonsense.io/v1/things", "")
	a.must(403, "GET", "/api/v1/namespaces/a/nonsense", "")
	for _, method := range []string{"NONSENSE1", "NONSENSE2"} {
		a.must(401, method, "/metrics", "", "X-User", "unknown")
		a.must(405, method, pods, "")
	}
	text := string(a.must(200, "GET", "/metrics", "").body)
	labels := `component="apiserver",dry_run="",group="",resource="pods",scope="namespace",subresource="",verb="POST",version="v1"`
	for _, want := range []string{
		`apiserver_request_total{code="400",` + labels + `} 1`,
		`apiserver_request_total{code="415",` + labels + `} 1`,
		`apiserver_request_duration_seconds_count{` + labels + `} 2`,
		`apiserver_request_duration_seconds_bucket{` + labels + `,le="60"} 2`,
		`apiserver_request_duration_seconds_bucket{` + labels + `,le="+Inf"} 2`,
		`apiserver_response_bytes_total{` + labels + `} `,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s", want)
		}
	}
	if n := strings.Count(text, `apiserver_request_total{code="401",component="apiserver",dry_run="",group="",resource="",scope="",subresource="",verb="other",version=""} 2`); n != 1 {
		t.Error("methods that no API has are not counted as one")
	}
	if strings.Contains(strings.ToLower(text), "nonsense") {
		t.Error("a resource or method that does not exist is a label")
	}
}
