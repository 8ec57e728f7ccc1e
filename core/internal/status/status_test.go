package status_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http/httptest"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pintle-dev/pintle/core/internal/status"
)

func TestWrite(t *testing.T) {
	for _, tc := range []struct {
		name       string
		err        error
		code       int
		reason     metav1.StatusReason
		retryAfter string
	}{
		{"with a status", apierrors.NewBadRequest("no"), 400, metav1.StatusReasonBadRequest, ""},
		{"around one", fmt.Errorf("asked: %w", apierrors.NewBadRequest("no")), 400, metav1.StatusReasonBadRequest, ""},
		{"without one", errors.New("no"), 500, metav1.StatusReasonInternalError, ""},
		{"for later", apierrors.NewTooManyRequests("busy", 3), 429, metav1.StatusReasonTooManyRequests, "3"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := httptest.NewRecorder()
			status.Write(w, tc.err)
			var got metav1.Status
			if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
				t.Fatal(err)
			}
			if w.Code != tc.code || got.Kind != "Status" || got.APIVersion != "v1" || got.Reason != tc.reason || int(got.Code) != tc.code ||
				w.Header().Get("Retry-After") != tc.retryAfter || w.Header().Get("Content-Type") != "application/json" {
				t.Errorf("%d %v %+v", w.Code, w.Header(), got)
			}
		})
	}
}
