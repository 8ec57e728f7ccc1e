package node

import (
	"errors"
	"net/http"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/pintle-dev/pintle/core/host"
)

// pluginLogs answers requests for /plugins/NAME/log, which servers pass on.
func pluginLogs(h *host.Host) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /plugins/{name}/log", func(w http.ResponseWriter, r *http.Request) {
		err := h.ServeLog(w, r, r.PathValue("name"))
		if err == nil {
			return
		}
		code := http.StatusInternalServerError
		if known := apierrors.APIStatus(nil); errors.As(err, &known) {
			code = int(known.Status().Code)
		}
		http.Error(w, err.Error(), code)
	})
	return mux
}
