// Package webhooks plays through what upstream's conformance tests do with admission webhooks,
// with a webhook server of its own in place of one in a pod: real kinds, real clients, a
// Service with endpoints in between.
package webhooks

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/pintle-dev/pintle/core/admission/follow"
	"github.com/pintle-dev/pintle/core/admission/match"
	"github.com/pintle-dev/pintle/core/admission/webhook"
	"github.com/pintle-dev/pintle/core/apiserver"
	"github.com/pintle-dev/pintle/core/apiserver/apiservertest"
	"github.com/pintle-dev/pintle/core/apiserver/backend"
	"github.com/pintle-dev/pintle/core/auth"
	"github.com/pintle-dev/pintle/core/store/storetest"
	"github.com/pintle-dev/pintle/crd/registry"
	"github.com/pintle-dev/pintle/plugins/kubeapi"
	"github.com/pintle-dev/pintle/sdk/admission"
	"github.com/pintle-dev/pintle/test/inprocess"
)

// env is a server with a webhook server behind the Service webhooks/hooks.
type env struct {
	client  kubernetes.Interface
	dynamic dynamic.Interface
	bundle  []byte

	mu       sync.Mutex
	handlers map[string]func(*admissionv1.AdmissionRequest) *admissionv1.AdmissionResponse
}

const (
	hooksNamespace = "webhooks"
	hooksService   = "hooks"
	hooksPort      = 8443
)

func serve(t *testing.T) *env {
	t.Helper()
	st, reg := storetest.Open(t), registry.New()
	hooks, err := webhook.New(webhook.Config{Services: backend.NewResolver(st), Equivalents: match.NewRegistry(reg), Authorizer: apiservertest.Root{}})
	if err != nil {
		t.Fatal(err)
	}
	s := inprocess.Start(t, apiserver.Config{
		Store: follow.Store{Store: st, Buckets: hooks.Buckets()}, Registry: reg,
		Mutators: []admission.Mutator{hooks.Mutator()}, Validators: []admission.Validator{hooks.Validator()},
		Connect: func(w http.ResponseWriter, _ *http.Request, _ auth.Attributes) { w.WriteHeader(http.StatusTeapot) },
	}, kubeapi.Options{CheckAdmission: webhook.Check})
	apiservertest.Run(t, func(ctx context.Context) error { return hooks.Run(ctx, st) })
	e := &env{handlers: map[string]func(*admissionv1.AdmissionRequest) *admissionv1.AdmissionResponse{}}
	if e.dynamic, err = dynamic.NewForConfig(s.Config); err != nil {
		t.Fatal(err)
	}
	config := rest.CopyConfig(s.Config)
	config.ContentType = "application/vnd.kubernetes.protobuf"
	if e.client, err = kubernetes.NewForConfig(config); err != nil {
		t.Fatal(err)
	}
	inprocess.Namespace(t, e.client, hooksNamespace, nil)
	inprocess.Namespace(t, e.client, "n", map[string]string{"watched": "yes"})
	e.listen(t)
	return e
}

// listen starts the webhook server, and makes the Service that leads to it.
func (e *env) listen(t *testing.T) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "hooks"}, DNSNames: []string{hooksService + "." + hooksNamespace + ".svc"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	e.bundle = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	srv := httptest.NewUnstartedServer(http.HandlerFunc(e.answer))
	srv.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, MinVersion: tls.VersionTLS12}
	srv.StartTLS()
	t.Cleanup(func() { srv.CloseClientConnections(); srv.Close() })

	_, text, err := net.SplitHostPort(srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	number, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	port, name, ready := int32(number), "web", true //nolint:gosec // a TCP port
	if _, err := e.client.CoreV1().Services(hooksNamespace).Create(t.Context(), &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: hooksService},
		Spec:       corev1.ServiceSpec{Selector: map[string]string{"app": "hooks"}, Ports: []corev1.ServicePort{{Name: name, Port: hooksPort}}},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	// Loopback is not for endpoints, so the slice is for a machine's own address.
	address := outside(t, port)
	if _, err := e.client.DiscoveryV1().EndpointSlices(hooksNamespace).Create(t.Context(), &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Name: hooksService + "-1", Labels: map[string]string{discoveryv1.LabelServiceName: hooksService}},
		AddressType: discoveryv1.AddressTypeIPv4, Ports: []discoveryv1.EndpointPort{{Name: &name, Port: &address.port}},
		Endpoints: []discoveryv1.Endpoint{{Addresses: []string{address.ip}, Conditions: discoveryv1.EndpointConditions{Ready: &ready}}},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

type address struct {
	ip   string
	port int32
}

// outside relays an address of this machine that is not loopback to a port on loopback.
func outside(t *testing.T, port int32) address {
	t.Helper()
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addrs {
		n, ok := a.(*net.IPNet)
		if !ok || n.IP.To4() == nil || !n.IP.IsGlobalUnicast() {
			continue
		}
		l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", net.JoinHostPort(n.IP.String(), "0"))
		if err != nil {
			continue
		}
		t.Cleanup(func() { _ = l.Close() })
		go relay(l, port)
		tcp, ok := l.Addr().(*net.TCPAddr)
		if !ok {
			t.Fatalf("%T is no TCP address", l.Addr())
		}
		return address{n.IP.String(), int32(tcp.Port)} //nolint:gosec // a TCP port
	}
	t.Skip("this machine has no address but loopback")
	return address{}
}

func relay(l net.Listener, port int32) {
	for {
		from, err := l.Accept()
		if err != nil {
			return
		}
		to, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(int(port))))
		if err != nil {
			_ = from.Close()
			continue
		}
		go pipe(from, to)
		go pipe(to, from)
	}
}

func pipe(to, from net.Conn) {
	buf := make([]byte, 4096)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			if _, err := to.Write(buf[:n]); err != nil {
				break
			}
		}
		if err != nil {
			break
		}
	}
	_ = to.Close()
	_ = from.Close()
}

func (e *env) answer(w http.ResponseWriter, r *http.Request) {
	var review admissionv1.AdmissionReview
	if err := json.NewDecoder(r.Body).Decode(&review); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	e.mu.Lock()
	handle := e.handlers[r.URL.Path]
	e.mu.Unlock()
	review.Response = &admissionv1.AdmissionResponse{Allowed: true}
	if handle != nil {
		review.Response = handle(review.Request)
	}
	review.Response.UID, review.Request = review.Request.UID, nil
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(review)
}

// on sets what is answered at a path.
func (e *env) on(path string, f func(*admissionv1.AdmissionRequest) *admissionv1.AdmissionResponse) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.handlers[path] = f
}
