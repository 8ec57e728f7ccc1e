package bootstrap

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"regexp"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/informers"

	"github.com/pintle-dev/pintle/plugins/workloads/control"
)

const (
	secretType      = "bootstrap.kubernetes.io/token"
	signaturePrefix = "jws-kubeconfig-"
	clusterInfo     = "cluster-info"
)

var secretName = regexp.MustCompile(`^bootstrap-token-([a-z0-9]{6})$`)

// secretsOf returns informers of nothing but bootstrap tokens: no other secret is to be
// held in memory here.
func secretsOf(kit control.Kit) informers.SharedInformerFactory {
	return informers.NewSharedInformerFactoryWithOptions(kit.Client, 0, informers.WithNamespace(metav1.NamespaceSystem),
		informers.WithTransform(control.Trim), informers.WithTweakListOptions(func(o *metav1.ListOptions) {
			o.FieldSelector = fields.OneTermEqualSelector("type", secretType).String()
		}))
}

func isToken(s *v1.Secret) bool { return s.Type == secretType && s.Namespace == metav1.NamespaceSystem }

// expiration is when a token expires, false if never. What can't be read has expired.
func expiration(s *v1.Secret) (time.Time, bool) {
	text := string(s.Data["expiration"])
	if text == "" {
		return time.Time{}, false
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}, true
	}
	return at, true
}

// signingKey returns the ID and the secret of a token that may sign.
func signingKey(s *v1.Secret, now time.Time) (id, key string, ok bool) {
	name := secretName.FindStringSubmatch(s.Name)
	id, key = string(s.Data["token-id"]), string(s.Data["token-secret"])
	if name == nil || name[1] != id || key == "" || string(s.Data["usage-bootstrap-signing"]) != "true" {
		return "", "", false
	}
	if at, ends := expiration(s); ends && !at.After(now) {
		return "", "", false
	}
	return id, key, true
}

// sign returns the JSON Web Signature of a text, without the text: HS256 with the token's
// secret as the key (RFC 7515, appendix F).
func sign(text, id, key string) (string, error) {
	header, err := json.Marshal(map[string]string{"alg": "HS256", "kid": id})
	if err != nil {
		return "", err
	}
	encode := base64.RawURLEncoding.EncodeToString
	mac := hmac.New(sha256.New, []byte(key))
	mac.Write([]byte(encode(header) + "." + encode([]byte(text))))
	return encode(header) + ".." + encode(mac.Sum(nil)), nil
}
