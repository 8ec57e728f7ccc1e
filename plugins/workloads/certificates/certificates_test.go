package certificates_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"testing"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	certificatesv1 "k8s.io/api/certificates/v1"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clienttesting "k8s.io/client-go/testing"

	"github.com/pintle-dev/pintle/plugins/workloads/certificates"
	"github.com/pintle-dev/pintle/plugins/workloads/control/controltest"
)

func key(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func csr(t *testing.T, template x509.CertificateRequest) []byte {
	t.Helper()
	der, err := x509.CreateCertificateRequest(rand.Reader, &template, key(t))
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
}

func certificate(t *testing.T, until time.Time) []byte {
	t.Helper()
	k := key(t)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: until}
	der, err := x509.CreateCertificate(rand.Reader, template, template, k.Public(), k)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func TestApproves(t *testing.T) {
	node := pkix.Name{CommonName: "system:node:n1", Organization: []string{"system:nodes"}}
	client := []certificatesv1.KeyUsage{certificatesv1.UsageDigitalSignature, certificatesv1.UsageClientAuth}
	tests := []struct {
		name     string
		user     string
		signer   string
		template x509.CertificateRequest
		usages   []certificatesv1.KeyUsage
		may      string // the subresource that the user may create
		message  string
	}{
		{"a node for itself", "system:node:n1", certificatesv1.KubeAPIServerClientKubeletSignerName, x509.CertificateRequest{Subject: node}, client, "selfnodeclient", "Auto approving self kubelet client certificate after SubjectAccessReview."},
		{"a bootstrap token for a node", "system:bootstrap:abc", certificatesv1.KubeAPIServerClientKubeletSignerName, x509.CertificateRequest{Subject: node}, append(client, certificatesv1.UsageKeyEncipherment), "nodeclient", "Auto approving kubelet client certificate after SubjectAccessReview."},
		{"another for a node", "jane", certificatesv1.KubeAPIServerClientKubeletSignerName, x509.CertificateRequest{Subject: node}, client, "selfnodeclient", ""},
		{"who may not", "system:node:n1", certificatesv1.KubeAPIServerClientKubeletSignerName, x509.CertificateRequest{Subject: node}, client, "", ""},
		{"another signer", "system:node:n1", certificatesv1.KubeAPIServerClientSignerName, x509.CertificateRequest{Subject: node}, client, "selfnodeclient", ""},
		{"a name of its own", "system:node:n1", certificatesv1.KubeAPIServerClientKubeletSignerName, x509.CertificateRequest{Subject: node, DNSNames: []string{"n1"}}, client, "selfnodeclient", ""},
		{"more usages", "system:node:n1", certificatesv1.KubeAPIServerClientKubeletSignerName, x509.CertificateRequest{Subject: node}, append(client, certificatesv1.UsageServerAuth), "selfnodeclient", ""},
		{"not of the nodes", "system:node:n1", certificatesv1.KubeAPIServerClientKubeletSignerName, x509.CertificateRequest{Subject: pkix.Name{CommonName: "system:node:n1"}}, client, "nodeclient", ""},
	}
	build := controltest.One(certificates.NewApprover)
	for _, tt := range tests {
		request := csr(t, tt.template)
		t.Run(tt.name, func(t *testing.T) {
			controltest.Run(t, nil, build, func(e *controltest.Env) {
				e.Client.PrependReactor("create", "subjectaccessreviews", func(a clienttesting.Action) (bool, runtime.Object, error) {
					review := a.(clienttesting.CreateAction).GetObject().(*authorizationv1.SubjectAccessReview)
					review.Status.Allowed = review.Spec.User == tt.user && review.Spec.ResourceAttributes.Subresource == tt.may
					return true, review, nil
				})
				_, err := e.Client.CertificatesV1().CertificateSigningRequests().Create(e.Ctx, &certificatesv1.CertificateSigningRequest{
					ObjectMeta: metav1.ObjectMeta{Name: "r"},
					Spec:       certificatesv1.CertificateSigningRequestSpec{Request: request, SignerName: tt.signer, Usages: tt.usages, Username: tt.user},
				}, metav1.CreateOptions{})
				if err != nil {
					e.Fatal(err)
				}
				e.Settle()
				got := controltest.Get(e, e.Client.CertificatesV1().CertificateSigningRequests(), "r")
				message := ""
				for _, c := range got.Status.Conditions {
					if c.Type == certificatesv1.CertificateApproved && c.Reason == "AutoApproved" {
						message = c.Message
					}
				}
				if message != tt.message {
					e.Errorf("conditions: %+v", got.Status.Conditions)
				}
			})
		})
	}
}

func TestCleans(t *testing.T) {
	tests := []struct {
		name      string
		condition certificatesv1.RequestConditionType
		valid     time.Duration // of the certificate, 0 for none
		stays     time.Duration
	}{
		{"pending", "", 0, 24 * time.Hour},
		{"denied", certificatesv1.CertificateDenied, 0, time.Hour},
		{"failed", certificatesv1.CertificateFailed, 0, time.Hour},
		{"signed", certificatesv1.CertificateApproved, 100 * time.Hour, time.Hour},
		{"signed for a short time", certificatesv1.CertificateApproved, 20 * time.Minute, 20 * time.Minute},
		{"approved and never signed", certificatesv1.CertificateApproved, 0, 24 * time.Hour},
	}
	build := controltest.One(certificates.NewCleaner)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			controltest.Run(t, nil, build, func(e *controltest.Env) {
				now := metav1.Now()
				r := &certificatesv1.CertificateSigningRequest{ObjectMeta: metav1.ObjectMeta{Name: "r", CreationTimestamp: now}}
				if tt.condition != "" {
					r.Status.Conditions = []certificatesv1.CertificateSigningRequestCondition{{Type: tt.condition, Status: v1.ConditionTrue, LastUpdateTime: now}}
				}
				if tt.valid > 0 {
					r.Status.Certificate = certificate(e.T, now.Add(tt.valid))
				}
				requests := e.Client.CertificatesV1().CertificateSigningRequests()
				controltest.Create(e, requests, r)
				there := func() bool {
					e.Settle()
					return controltest.There(e, requests, "r")
				}
				time.Sleep(tt.stays - time.Minute) // virtual
				if !there() {
					e.Error("it went too early")
				}
				time.Sleep(2 * time.Minute)
				if there() {
					e.Error("it is still there")
				}
			})
		})
	}
}
