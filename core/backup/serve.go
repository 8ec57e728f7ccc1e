package backup

import (
	"cmp"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/pintle-dev/pintle/core/auth"
	"github.com/pintle-dev/pintle/core/internal/status"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// Where backups are made: a POST answers one, with the cluster's keys where the query has
// keys=true.
const (
	Group     = "core.pintle.dev"
	Resource  = "backups"
	Path      = "/apis/" + Group + "/v1/" + Resource
	KeysQuery = "keys"
	MediaType = "application/vnd.pintle.backup"
)

// Authorizer says whether a request may be done.
type Authorizer interface {
	Authorize(ctx context.Context, a auth.Attributes) (allowed bool, reason string, err error)
}

// Handler answers backups. The request has been authorized to create backups; that is not
// enough, for a backup has all that the cluster has: who makes one must be allowed to list
// everything, and who wants the keys, with which one can be anybody, must be allowed
// everything.
type Handler struct {
	Cluster    Cluster
	Authorizer Authorizer
	// User is who asks.
	User   func(ctx context.Context) (resource.User, bool)
	Logger *slog.Logger
	// Stall is how long a client may leave what was sent to it unread, 1 minute where it is 0. A
	// backup that nobody reads keeps old versions on the disk.
	Stall time.Duration

	running sync.Mutex
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := h.serve(w, r); err != nil {
		status.Write(w, err)
	}
}

func (h *Handler) serve(w http.ResponseWriter, r *http.Request) error {
	gr := schema.GroupResource{Group: Group, Resource: Resource}
	if r.Method != http.MethodPost {
		return apierrors.NewMethodNotSupported(gr, r.Method)
	}
	var keys bool
	if text := r.URL.Query().Get(KeysQuery); text != "" {
		var err error
		if keys, err = strconv.ParseBool(text); err != nil {
			return apierrors.NewBadRequest("keys: want true or false")
		}
	}
	if err := h.allowed(r.Context(), keys); err != nil {
		return err
	}
	if !h.running.TryLock() {
		return apierrors.NewTooManyRequests("another backup is being made by this server", 10)
	}
	defer h.running.Unlock()
	snapshot, err := h.Cluster.Pin(r.Context(), Options{Keys: keys})
	if err != nil {
		return apierrors.NewServiceUnavailable(err.Error())
	}
	defer snapshot.Close()
	w.Header().Set("Content-Type", MediaType)
	w.WriteHeader(http.StatusOK)
	begun := time.Now()
	sum, err := snapshot.Write(r.Context(), &impatient{w: w, c: http.NewResponseController(w), stall: cmp.Or(h.Stall, time.Minute)})
	if err != nil {
		h.Logger.Warn("A backup failed", "revision", snapshot.Header().Revision, "error", err)
		return nil // The answer has begun; its last frame says so where it still can.
	}
	h.Logger.Info("Answered a backup", "revision", snapshot.Header().Revision, "objects", sum.Objects,
		"bytes", sum.Bytes, "keys", keys, "took", time.Since(begun).Round(time.Millisecond))
	return nil
}

func (h *Handler) allowed(ctx context.Context, keys bool) error {
	user, ok := h.User(ctx)
	if !ok {
		return apierrors.NewUnauthorized("Unauthorized")
	}
	verb, need := "list", "a backup has all objects, so that you must be allowed to list all resources of all groups"
	if keys {
		verb, need = "*", "a backup with keys lets its owner be anybody, so that you must be allowed all verbs on all resources of all groups"
	}
	ok, _, err := h.Authorizer.Authorize(ctx, auth.Attributes{User: user, Verb: verb, Group: "*", Version: "*", Resource: "*"})
	if ok {
		return nil
	}
	if failed := auth.Failure(err); failed != nil {
		return apierrors.NewInternalError(failed)
	}
	e := apierrors.NewForbidden(schema.GroupResource{Group: Group, Resource: Resource}, "", errors.New(need))
	e.ErrStatus.Details.Causes = []metav1.StatusCause{{Type: metav1.CauseType("MissingPermission"), Message: verb + " *.*"}}
	return e
}

// impatient writes with a deadline for each piece.
type impatient struct {
	w     io.Writer
	c     *http.ResponseController
	stall time.Duration
}

func (i *impatient) Write(p []byte) (int, error) {
	// Writers that know no deadlines, as in tests, have none.
	_ = i.c.SetWriteDeadline(time.Now().Add(i.stall))
	n, err := i.w.Write(p)
	if err == nil {
		err = i.c.Flush()
	}
	if errors.Is(err, http.ErrNotSupported) {
		err = nil
	}
	return n, err
}
