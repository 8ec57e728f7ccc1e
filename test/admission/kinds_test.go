package admission

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"strings"
	"testing"

	certificatesv1 "k8s.io/api/certificates/v1"
	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pintle-dev/pintle/plugins/kubeapi/admission"
	"github.com/pintle-dev/pintle/test/inprocess"
)

func TestPodsGetTheLabelsOfTheirNode(t *testing.T) {
	e := serve(t, admission.Options{})
	ctx, core := t.Context(), e.client.CoreV1()
	place := map[string]string{v1.LabelTopologyZone: "z", v1.LabelTopologyRegion: "r", "x": "y"}
	node, err := core.Nodes().Create(ctx, &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1", Labels: place}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(node.Spec.Taints) != 1 || node.Spec.Taints[0].Key != v1.TaintNodeNotReady || node.Spec.Taints[0].Effect != v1.TaintEffectNoSchedule {
		t.Errorf("a new node has the taints %v", node.Spec.Taints)
	}
	if _, err := core.Pods("n").Create(ctx, newPod("bound", "", ""), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := core.Pods("n").Bind(ctx, &v1.Binding{ObjectMeta: metav1.ObjectMeta{Name: "bound"}, Target: v1.ObjectReference{Kind: "Node", Name: "n1"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := core.Pods("n").Create(ctx, newPod("there", "", "", func(p *v1.Pod) { p.Spec.NodeName = "n1" }), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"bound", "there"} {
		pod, err := core.Pods("n").Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if l := pod.Labels; l[v1.LabelTopologyZone] != "z" || l[v1.LabelTopologyRegion] != "r" || l["x"] != "" {
			t.Errorf("%s has the labels %v", name, l)
		}
	}
}

func TestPodSecurityByLabels(t *testing.T) {
	e := serve(t, admission.Options{})
	inprocess.Namespace(t, e.client, "strict", map[string]string{"pod-security.kubernetes.io/enforce": "baseline"})
	host := func(p *v1.Pod) { p.Spec.HostNetwork = true }
	_, err := e.client.CoreV1().Pods("strict").Create(t.Context(), newPod("p", "", "", host), metav1.CreateOptions{})
	if got, want := refused(err), `pods "p" is forbidden: violates PodSecurity "baseline:latest": host namespaces (hostNetwork=true)`; got != want {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
	if _, err := e.client.CoreV1().Pods("n").Create(t.Context(), newPod("p", "", "", host), metav1.CreateOptions{}); err != nil {
		t.Errorf("a namespace that asks for nothing: %v", err)
	}
	e.warnings.take()
	n, err := e.client.CoreV1().Namespaces().Get(t.Context(), "n", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	n.Labels["pod-security.kubernetes.io/enforce"] = "restricted"
	if _, err := e.client.CoreV1().Namespaces().Update(t.Context(), n, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	if w := strings.Join(e.warnings.take(), "\n"); !strings.Contains(w, `existing pods in namespace "n" violate the new PodSecurity enforce level "restricted:latest"`) {
		t.Errorf("warnings: %s", w)
	}
	n.ResourceVersion, n.Labels["pod-security.kubernetes.io/enforce"] = "", "lax"
	_, err = e.client.CoreV1().Namespaces().Update(t.Context(), n, metav1.UpdateOptions{})
	var status apierrors.APIStatus
	if !apierrors.IsInvalid(err) || !errors.As(err, &status) || !strings.Contains(err.Error(), "must be one of privileged, baseline, restricted") {
		t.Errorf("a level that does not exist: %v", err)
	}
}

func TestNamespacesThatStay(t *testing.T) {
	e := serve(t, admission.Options{})
	inprocess.Namespace(t, e.client, "kube-public", nil)
	err := e.client.CoreV1().Namespaces().Delete(t.Context(), "kube-public", metav1.DeleteOptions{})
	if got, want := refused(err), `namespaces "kube-public" is forbidden: this namespace may not be deleted`; got != want {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
}

func TestOnlyWhoMayApprovesForASigner(t *testing.T) {
	e := serve(t, admission.Options{})
	ctx := t.Context()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "x"}}, key)
	if err != nil {
		t.Fatal(err)
	}
	r, err := e.client.CertificatesV1().CertificateSigningRequests().Create(ctx, &certificatesv1.CertificateSigningRequest{
		ObjectMeta: metav1.ObjectMeta{Name: "r"},
		Spec: certificatesv1.CertificateSigningRequestSpec{
			SignerName: "example.com/a", Usages: []certificatesv1.KeyUsage{certificatesv1.UsageClientAuth},
			Request: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}),
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	r.Status.Conditions = []certificatesv1.CertificateSigningRequestCondition{{Type: certificatesv1.CertificateApproved, Status: v1.ConditionTrue, Reason: "Test"}}
	_, err = e.as(t, "mallory").CertificatesV1().CertificateSigningRequests().UpdateApproval(ctx, "r", r, metav1.UpdateOptions{})
	if got, want := refused(err), `certificatesigningrequests.certificates.k8s.io "r" is forbidden: user not permitted to approve requests with signerName "example.com/a"`; got != want {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
	if _, err := e.client.CertificatesV1().CertificateSigningRequests().UpdateApproval(ctx, "r", r, metav1.UpdateOptions{}); err != nil {
		t.Error(err)
	}
}
