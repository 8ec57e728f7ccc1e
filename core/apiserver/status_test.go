package apiserver_test

import "testing"

// Controllers of a cloud hold Services by a finalizer that they write with the status; who takes
// the last one away that way lets the object go. Others' types take nothing but the status.
func TestFinalizersWithAStatus(t *testing.T) {
	a := newAPI(t)
	for _, tc := range []struct {
		object, body string
		taken        bool
	}{
		{"/api/v1/namespaces/default/pods/p", `{"metadata":{"name":"p"},"spec":{}}`, true},
		{widgets + "/w", `{"metadata":{"name":"w"},"spec":{"size":"small"}}`, false},
	} {
		a.must(201, "POST", tc.object[:len(tc.object)-2], tc.body)
		patch := func(finalizers string) map[string]any {
			t.Helper()
			return a.must(200, "PATCH", tc.object+"/status", `{"metadata":{"finalizers":`+finalizers+`}}`, "Content-Type", "application/merge-patch+json").object(t)
		}
		if got := at(patch(`["example.dev/hold"]`), "metadata.finalizers") != nil; got != tc.taken {
			t.Errorf("%s: finalizers were taken: %t, want %t", tc.object, got, tc.taken)
		}
		if !tc.taken {
			continue
		}
		a.must(200, "DELETE", tc.object+"?gracePeriodSeconds=0", "")
		a.must(200, "GET", tc.object, "")
		patch("null")
		a.must(404, "GET", tc.object, "")
	}
}
