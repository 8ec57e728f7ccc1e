package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"crypto/x509"
	"encoding/pem"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pintle-dev/pintle/core/store"
)

// Paths of the cluster's endpoints. Who may use them is for the caller: JoinPath is for
// JoiningGroup, ServersPath with GET for nodes too, the rest for administrators.
const (
	ServersPath  = "/cluster/v1/servers"
	TokensPath   = "/cluster/v1/tokens"
	TransferPath = "/cluster/v1/transfer"
)

// TokenRequest asks for a token, and TokenAnswer has it.
type (
	TokenRequest struct {
		// Life of the token; 0 means DefaultTokenLife.
		Life time.Duration `json:"life"`
	}
	// TokenAnswer is the answer to a TokenRequest.
	TokenAnswer struct {
		Token   string    `json:"token"`
		Expires time.Time `json:"expires"`
	}
	// TransferRequest names who is to lead; empty means whoever can.
	TransferRequest struct {
		To string `json:"to"`
	}
	// ServersAnswer lists the servers.
	ServersAnswer = answerServers
)

// Handlers serve the endpoints, by path, for apiserver.Config.Handlers.
func (c *Cluster) Handlers() map[string]http.Handler {
	return map[string]http.Handler{
		JoinPath:          handler(http.MethodPost, c.serveJoin),
		ServersPath:       handler(http.MethodGet, c.serveServers),
		ServersPath + "/": handler(http.MethodDelete, c.serveRemove),
		TokensPath:        handler(http.MethodPost, c.serveToken),
		TransferPath:      handler(http.MethodPost, c.serveTransfer),
	}
}

const maxRequest = 64 << 10

// handler answers what serve returns, as JSON, and errors as a Status.
func handler(method string, serve func(*http.Request) (any, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != method {
			w.Header().Set("Allow", method)
			writeStatus(w, http.StatusMethodNotAllowed, errors.New("the method is "+method))
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxRequest)
		answer, err := serve(r)
		if err != nil {
			code := http.StatusConflict
			switch {
			case errors.Is(err, errBadRequest):
				code = http.StatusBadRequest
			case errors.Is(err, store.ErrNotLeader), errors.Is(err, store.ErrUnknownOutcome), errors.Is(err, store.ErrClosed):
				w.Header().Set("Retry-After", "1")
				code = http.StatusServiceUnavailable
			}
			writeStatus(w, code, err)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(answer)
	})
}

func writeStatus(w http.ResponseWriter, code int, err error) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(metav1.Status{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"},
		Status:   metav1.StatusFailure, Code: int32(code), Message: err.Error(), //nolint:gosec // an HTTP status
	})
}

var errBadRequest = errors.New("bad request")

func readJSON(r *http.Request, v any) error {
	if err := json.NewDecoder(r.Body).Decode(v); err != nil {
		return fmt.Errorf("%w: %w", errBadRequest, err)
	}
	return nil
}

// errAlone: this server is not reachable for others.
var errAlone = errors.New("this server listens for no others: set cluster.listen in its configuration and restart it")

// serveJoin hands the cluster's keys to a server that has proved that it may have them.
func (c *Cluster) serveJoin(r *http.Request) (any, error) {
	var q joinRequest
	if err := readJSON(r, &q); err != nil {
		return nil, err
	}
	if err := CheckName(q.Name); err != nil {
		return nil, fmt.Errorf("%w: name: %w", errBadRequest, err)
	}
	if q.Settings != c.cfg.Settings {
		return nil, fmt.Errorf("%w: the configurations differ: this cluster has api.serviceCIDR %s and api.clusterDomain %s, the new server %s and %s",
			errBadRequest, c.cfg.Settings.ServiceCIDR, c.cfg.Settings.ClusterDomain, q.Settings.ServiceCIDR, q.Settings.ClusterDomain)
	}
	if c.cfg.Dir == "" {
		return nil, errAlone
	}
	files, err := collectSecrets(c.cfg.Dir)
	if err != nil {
		return nil, err
	}
	answer := joinAnswer{Files: files, Peers: []string{c.store.Address()}}
	for _, p := range c.store.Peers() {
		if p.Address != answer.Peers[0] {
			answer.Peers = append(answer.Peers, p.Address)
		}
	}
	c.log.Info("Gave the cluster's keys to a server that joins", "name", q.Name)
	return answer, nil
}

func (c *Cluster) serveServers(r *http.Request) (any, error) {
	var answer answerServers
	if err := c.ask(r.Context(), question{Op: opServers}, &answer); err != nil {
		return nil, err
	}
	return answer, nil
}

func (c *Cluster) serveRemove(r *http.Request) (any, error) {
	name := strings.TrimPrefix(r.URL.Path, ServersPath+"/")
	var answer answerServers
	if err := c.ask(r.Context(), question{Op: opRemove, Name: name}, &answer); err != nil {
		return nil, err
	}
	return answer, nil
}

func (c *Cluster) serveTransfer(r *http.Request) (any, error) {
	var q TransferRequest
	if err := readJSON(r, &q); err != nil {
		return nil, err
	}
	var answer struct{}
	if err := c.ask(r.Context(), question{Op: opTransfer, Name: q.To}, &answer); err != nil {
		return nil, err
	}
	return answer, nil
}

func (c *Cluster) serveToken(r *http.Request) (any, error) {
	if c.cfg.Dir == "" {
		return nil, errAlone
	}
	var q TokenRequest
	if err := readJSON(r, &q); err != nil {
		return nil, err
	}
	if q.Life == 0 {
		q.Life = DefaultTokenLife
	}
	ca, err := readCertificate(filepath.Join(c.cfg.Dir, "ca.crt"))
	if err != nil {
		return nil, err
	}
	token, expires, err := MakeToken(r.Context(), c.store, ca, q.Life)
	if err != nil {
		return nil, err
	}
	return TokenAnswer{Token: token.String(), Expires: expires}, nil
}

func readCertificate(file string) (*x509.Certificate, error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(raw)
	if block == nil {
		return nil, fmt.Errorf("%s has no certificate in it", file)
	}
	return x509.ParseCertificate(block.Bytes)
}

// List is what Servers' endpoint answers, for this process itself.
func (c *Cluster) List(ctx context.Context) (ServersAnswer, error) {
	var answer answerServers
	err := c.ask(ctx, question{Op: opServers}, &answer)
	return answer, err
}
