package kubeapi_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
)

// pemOf is a block of PEM in base64.
func pemOf(typ string, der []byte) string {
	return base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: typ, Bytes: der}))
}

// certificate returns a request for a certificate, and the certificate.
func certificate(t *testing.T) (request, issued string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	asked, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "x"}}, key)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	got, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return pemOf("CERTIFICATE REQUEST", asked), pemOf("CERTIFICATE", got)
}

// TestProgressOfCertificateRequests says things of requests as approvers and signers do.
func TestProgressOfCertificateRequests(t *testing.T) {
	request, issued := certificate(t)
	approved := map[string]any{
		"type": "Approved", "status": "True", "reason": "r",
		"lastUpdateTime": "2026-01-01T00:00:00Z", "lastTransitionTime": "2026-01-01T00:00:00Z",
	}
	condition := func(typ, status string) map[string]any { return map[string]any{"type": typ, "status": status} }
	list := func(conditions ...any) map[string]any { return map[string]any{"conditions": conditions} }
	for name, c := range map[string]struct {
		subresource string
		old, status map[string]any
		want        string
	}{
		"approve":              {"approval", nil, list(condition("Approved", "True")), ""},
		"approve with status":  {"status", nil, list(condition("Approved", "True")), `status.conditions: Forbidden: updates may not add a condition of type "Approved"`},
		"not approve":          {"approval", nil, list(condition("Approved", "False")), `status.conditions[0].status: Unsupported value: "False": supported values: "True"`},
		"say nothing":          {"approval", nil, list(condition("Approved", "")), "status.conditions[0].status: Required value"},
		"approve and deny":     {"approval", nil, list(condition("Approved", "True"), condition("Denied", "True")), `status.conditions: Invalid value: "Denied": Approved and Denied conditions are mutually exclusive`},
		"say twice":            {"approval", nil, list(condition("X", "Bad"), condition("X", "True")), `status.conditions[1].type: Duplicate value: "X"`},
		"take back":            {"approval", list(approved), list(), `status.conditions: Forbidden: updates may not remove a condition of type "Approved"`},
		"take back failure":    {"status", list(condition("Failed", "True")), list(), `status.conditions: Forbidden: updates may not remove a condition of type "Failed"`},
		"fail":                 {"status", list(approved), list(condition("Approved", "True"), condition("Failed", "True")), ""},
		"issue nothing":        {"status", nil, map[string]any{"certificate": "AAAA"}, `status.certificate: Invalid value: "<certificate data>": must contain at least one CERTIFICATE PEM block`},
		"issue something else": {"status", nil, map[string]any{"certificate": pemOf("X", []byte("x"))}, `only CERTIFICATE PEM blocks are allowed, found "X"`},
		"issue":                {"status", nil, map[string]any{"certificate": issued}, ""},
		"issue again":          {"status", map[string]any{"certificate": request}, map[string]any{"certificate": issued}, "status.certificate: Forbidden: updates may not modify existing certificate content"},
	} {
		t.Run(name, func(t *testing.T) {
			o := parse(t, `{"apiVersion":"certificates.k8s.io/v1","kind":"CertificateSigningRequest","metadata":{"name":"x"},"spec":{"request":"`+request+`","usages":["client auth"],"signerName":"example.com/x"}}`)
			old := clone(t, o)
			old["status"] = map[string]any{}
			if c.old != nil {
				old["status"] = clone(t, c.old)
			}
			o["status"] = c.status
			r := newRequest(typeOf(t, o), o, old, c.subresource)
			err := write(t, typeOf(t, o), r)
			if c.want != "" {
				if err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("answered with %v, want %s", err, c.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			status, _ := r.Object["status"].(map[string]any)
			conditions, _ := status["conditions"].([]any)
			for _, v := range conditions {
				said, _ := v.(map[string]any)
				kept := c.old != nil && said["type"] == "Approved"
				for _, key := range []string{"lastUpdateTime", "lastTransitionTime"} {
					if at, _ := said[key].(string); at == "" || (at == approved[key]) != kept {
						t.Errorf("%s of %v is %q", key, said["type"], at)
					}
				}
			}
		})
	}
}

// TestSuspendedJobs changes templates of jobs that have no pods, and of others.
func TestSuspendedJobs(t *testing.T) {
	const change = `{"nodeSelector":{"a":"b"},"affinity":{"nodeAffinity":{}},"restartPolicy":"Never","containers":[{"name":"c","image":"x","resources":{"limits":{"cpu":"2"}}}]}`
	for name, c := range map[string]struct {
		suspend bool
		status  map[string]any
		spec    string
		allowed bool
	}{
		"new":               {true, nil, change, true},
		"not suspended":     {false, nil, change, false},
		"running":           {true, map[string]any{"startTime": "2026-01-01T00:00:00Z"}, change, false},
		"has run":           {true, map[string]any{"startTime": "2026-01-01T00:00:00Z", "conditions": []any{map[string]any{"type": "Suspended", "status": "True"}}}, change, true},
		"has pods":          {true, map[string]any{"active": int64(1), "startTime": "2026-01-01T00:00:00Z", "conditions": []any{map[string]any{"type": "Suspended", "status": "True"}}}, change, false},
		"has pods too soon": {true, map[string]any{"active": int64(1)}, change, false},
		"image":             {true, nil, `{"restartPolicy":"Never","containers":[{"name":"c","image":"y"}]}`, false},
		"pod affinity":      {true, nil, `{"affinity":{"podAntiAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":[{"topologyKey":"k"}]}},"restartPolicy":"Never","containers":[{"name":"c","image":"x"}]}`, false},
	} {
		t.Run(name, func(t *testing.T) {
			old := parse(t, `{"apiVersion":"batch/v1","kind":"Job","metadata":{"name":"x","namespace":"default"},"spec":{"template":{"spec":{"restartPolicy":"Never","containers":[{"name":"c","image":"x"}]}}}}`)
			old["spec"].(map[string]any)["suspend"] = c.suspend
			typ := typeOf(t, old)
			if err := write(t, typ, newRequest(typ, old, nil, "")); err != nil {
				t.Fatal(err)
			}
			old["status"] = map[string]any{}
			if c.status != nil {
				old["status"] = c.status
			}
			o := clone(t, old)
			spec := o["spec"].(map[string]any)
			spec["template"].(map[string]any)["spec"] = parse(t, c.spec)
			err := write(t, typ, newRequest(typ, o, old, ""))
			if (err == nil) != c.allowed {
				t.Errorf("answered with %v", err)
			}
			if err != nil && !strings.Contains(err.Error(), "field is immutable") {
				t.Errorf("answered with %v", err)
			}
		})
	}
}
