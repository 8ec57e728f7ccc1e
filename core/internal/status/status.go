// Package status answers requests that failed, for handlers beside the API's own verbs. It
// must not know why they failed.
package status

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Write answers with the Status that an error carries, as the API server does, in JSON. An
// error that carries none is an internal one.
func Write(w http.ResponseWriter, err error) {
	var carries apierrors.APIStatus
	if !errors.As(err, &carries) {
		carries = apierrors.NewInternalError(err)
	}
	s := carries.Status()
	s.TypeMeta = metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}
	body, err := json.Marshal(&s)
	if err != nil {
		http.Error(w, s.Message, int(s.Code))
		return
	}
	if s.Details != nil && s.Details.RetryAfterSeconds > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(s.Details.RetryAfterSeconds)))
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(int(s.Code))
	_, _ = w.Write(body) // the client is gone where this fails; there is nobody to tell
}
