package signing_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/pintle-dev/pintle/core/auth/pki"
	"github.com/pintle-dev/pintle/core/auth/signing"
	"github.com/pintle-dev/pintle/core/store/storetest"
	"github.com/pintle-dev/pintle/sdk/resource"
)

// written is a Writer over one object.
type written struct {
	object map[string]any
	done   chan error
}

func (w *written) ChangeStatus(_ context.Context, _ schema.GroupResource, _, _ string, change func(map[string]any) error) error {
	err := change(w.object)
	w.done <- err
	return err
}

func csr(t *testing.T, template x509.CertificateRequest) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &template, key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
}

func TestSigns(t *testing.T) {
	authority, err := pki.Open(pki.Config{Dir: t.TempDir(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	node := pkix.Name{CommonName: "system:node:n1", Organization: []string{"system:nodes"}}
	client := []certificatesv1.KeyUsage{certificatesv1.UsageDigitalSignature, certificatesv1.UsageClientAuth}
	server := []certificatesv1.KeyUsage{certificatesv1.UsageDigitalSignature, certificatesv1.UsageKeyEncipherment, certificatesv1.UsageServerAuth}
	seconds := func(n int32) *int32 { return &n }
	tests := []struct {
		name     string
		signer   string
		template x509.CertificateRequest
		usages   []certificatesv1.KeyUsage
		seconds  *int32
		state    []certificatesv1.RequestConditionType
		refusal  string
		ignored  bool
		lifetime time.Duration
	}{
		{name: "a client", signer: certificatesv1.KubeAPIServerClientSignerName, template: x509.CertificateRequest{Subject: pkix.Name{CommonName: "jane", Organization: []string{"dev"}}}, usages: client, lifetime: 365*24*time.Hour - 5*time.Minute},
		{name: "for an hour", signer: certificatesv1.KubeAPIServerClientSignerName, template: x509.CertificateRequest{Subject: pkix.Name{CommonName: "jane"}}, usages: client, seconds: seconds(3600), lifetime: time.Hour},
		{name: "for too short", signer: certificatesv1.KubeAPIServerClientSignerName, template: x509.CertificateRequest{Subject: pkix.Name{CommonName: "jane"}}, usages: client, seconds: seconds(5), lifetime: 10 * time.Minute},
		{name: "a client that would be a server", signer: certificatesv1.KubeAPIServerClientSignerName, template: x509.CertificateRequest{Subject: pkix.Name{CommonName: "jane"}}, usages: server, refusal: "invalid usage for client certificate: server auth"},
		{name: "a client without the usage", signer: certificatesv1.KubeAPIServerClientSignerName, template: x509.CertificateRequest{Subject: pkix.Name{CommonName: "jane"}}, usages: client[:1], refusal: "missing required usage for client certificate: client auth"},
		{name: "a kubelet's client", signer: certificatesv1.KubeAPIServerClientKubeletSignerName, template: x509.CertificateRequest{Subject: node}, usages: client, lifetime: 365*24*time.Hour - 5*time.Minute},
		{name: "not a node", signer: certificatesv1.KubeAPIServerClientKubeletSignerName, template: x509.CertificateRequest{Subject: pkix.Name{CommonName: "n1", Organization: []string{"system:nodes"}}}, usages: client, refusal: "subject common name does not begin with system:node:"},
		{name: "not of the nodes", signer: certificatesv1.KubeAPIServerClientKubeletSignerName, template: x509.CertificateRequest{Subject: pkix.Name{CommonName: "system:node:n1"}}, usages: client, refusal: "subject organization is not system:nodes"},
		{name: "a node's client with a name", signer: certificatesv1.KubeAPIServerClientKubeletSignerName, template: x509.CertificateRequest{Subject: node, DNSNames: []string{"n1"}}, usages: client, refusal: "DNS subjectAltNames are not allowed"},
		{name: "a kubelet's server", signer: certificatesv1.KubeletServingSignerName, template: x509.CertificateRequest{Subject: node, IPAddresses: []net.IP{net.IPv4(10, 0, 0, 1)}}, usages: server, lifetime: 365*24*time.Hour - 5*time.Minute},
		{name: "a server without a name", signer: certificatesv1.KubeletServingSignerName, template: x509.CertificateRequest{Subject: node}, usages: server, refusal: "DNS or IP subjectAltName is required"},
		{name: "a server with a client's usages", signer: certificatesv1.KubeletServingSignerName, template: x509.CertificateRequest{Subject: node, DNSNames: []string{"n1"}}, usages: client, refusal: "usages did not match [digital signature key encipherment server auth]"},
		{name: "not approved", signer: certificatesv1.KubeAPIServerClientSignerName, usages: client, state: []certificatesv1.RequestConditionType{}, ignored: true},
		{name: "denied", signer: certificatesv1.KubeAPIServerClientSignerName, usages: client, state: []certificatesv1.RequestConditionType{certificatesv1.CertificateDenied}, ignored: true},
		{name: "failed before", signer: certificatesv1.KubeAPIServerClientSignerName, usages: client, state: []certificatesv1.RequestConditionType{certificatesv1.CertificateApproved, certificatesv1.CertificateFailed}, ignored: true},
		{name: "another's signer", signer: "acme.io/signer", usages: client, ignored: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := certificatesv1.CertificateSigningRequest{
				ObjectMeta: metav1.ObjectMeta{Name: "r"},
				Spec:       certificatesv1.CertificateSigningRequestSpec{SignerName: tt.signer, Request: csr(t, tt.template), Usages: tt.usages, ExpirationSeconds: tt.seconds},
			}
			if tt.state == nil {
				tt.state = []certificatesv1.RequestConditionType{certificatesv1.CertificateApproved}
			}
			for _, typ := range tt.state {
				r.Status.Conditions = append(r.Status.Conditions, certificatesv1.CertificateSigningRequestCondition{Type: typ, Status: v1.ConditionTrue})
			}
			got := play(t, authority, &r, tt.ignored)
			if tt.ignored {
				return
			}
			status, _ := got["status"].(map[string]any)
			if tt.refusal != "" {
				conditions, _ := status["conditions"].([]any)
				last, _ := conditions[len(conditions)-1].(map[string]any)
				if last["type"] != "Failed" || last["reason"] != "SignerValidationFailure" || last["message"] != tt.refusal || status["certificate"] != nil {
					t.Errorf("status: %v", status)
				}
				return
			}
			text, _ := status["certificate"].(string)
			checkCertificate(t, authority, text, tt.template, tt.lifetime)
		})
	}
}

// play lets a controller see a request and returns what it made of it.
func play(t *testing.T, authority signing.Authority, r *certificatesv1.CertificateSigningRequest, ignored bool) map[string]any {
	t.Helper()
	data, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	w := &written{done: make(chan error, 1)}
	if err := json.Unmarshal(data, &w.object); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	s := storetest.Open(t)
	c := signing.New(signing.Config{Authority: authority, Writer: w, Logger: slog.New(slog.DiscardHandler)})
	run, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- c.Run(run, s) }()
	c.Put("r", data, 1)
	if !ignored {
		if err := <-w.done; err != nil {
			t.Fatal(err)
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	select {
	case <-w.done:
		t.Error("it was looked at")
	default:
	}
	return w.object
}

func checkCertificate(t *testing.T, authority *pki.Authority, text string, want x509.CertificateRequest, lifetime time.Duration) {
	t.Helper()
	data, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(data)
	if block == nil {
		t.Fatalf("no PEM: %q", data)
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cert.Verify(x509.VerifyOptions{Roots: authority.Pool(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}); err != nil {
		t.Error(err)
	}
	if cert.IsCA || cert.Subject.String() != want.Subject.String() || len(cert.IPAddresses) != len(want.IPAddresses) {
		t.Errorf("certificate of %s, CA %v", cert.Subject, cert.IsCA)
	}
	if left := time.Until(cert.NotAfter); left > lifetime || left < lifetime-time.Minute {
		t.Errorf("valid for %v", left)
	}
	if strings.Contains(cert.Subject.String(), "pintle-ca") {
		t.Error("the authority's own name")
	}
}

var _ resource.Writer = (*written)(nil)
