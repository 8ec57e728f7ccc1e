package openapi_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/pintle-dev/pintle/core/apiserver/apiservertest"
	"github.com/pintle-dev/pintle/crd/schema"
)

// A definition that was deleted a moment ago, whose schema can't be read any more, takes no
// other's document with it.
func TestSchemaThatIsGone(t *testing.T) {
	r := types(t)
	gone := widget("two")
	gone.Group = "gone.example.dev"
	gone.Versions[0].Schema = func() (*schema.Schema, error) { return nil, errors.New("read the definition: object not found") }
	if err := r.Register(gone); err != nil {
		t.Fatal(err)
	}
	s := serve(t, r)
	for _, path := range []string{"/openapi/v2", "/openapi/v3", "/openapi/v3/apis/example.dev/v1", "/openapi/v3/apis/gone.example.dev/v1"} {
		if resp := apiservertest.Get(t, s.URL+path); resp.Code != http.StatusOK || !strings.Contains(string(resp.Body), "example.dev") {
			t.Errorf("%s: %d %.300s", path, resp.Code, resp.Body)
		}
	}
}
