package image

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"path"
	"sort"
	"strings"

	"github.com/distribution/reference"
	corev1 "k8s.io/api/core/v1"

	driver "github.com/pintle-dev/pintle/sdk/runtimedriver"
)

type dockerAuth struct {
	Username      string `json:"username"`
	Password      string `json:"password"`
	Auth          string `json:"auth"`
	IdentityToken string `json:"identitytoken"`
}

// Credentials returns those in the secrets that fit an image, the most specific first.
// Secrets of other types are left out; one that cannot be read is an error that names it.
func Credentials(secrets []corev1.Secret, image reference.Named) ([]driver.RegistryAuth, error) {
	type match struct {
		key  string
		auth driver.RegistryAuth
	}
	var found []match
	for _, s := range secrets {
		auths := map[string]dockerAuth{}
		switch s.Type {
		case corev1.SecretTypeDockerConfigJson:
			var doc struct {
				Auths map[string]dockerAuth `json:"auths"`
			}
			if err := json.Unmarshal(s.Data[corev1.DockerConfigJsonKey], &doc); err != nil {
				return nil, fmt.Errorf("pull secret %s/%s: data[%s]: %w", s.Namespace, s.Name, corev1.DockerConfigJsonKey, err)
			}
			auths = doc.Auths
		case corev1.SecretTypeDockercfg:
			if err := json.Unmarshal(s.Data[corev1.DockerConfigKey], &auths); err != nil {
				return nil, fmt.Errorf("pull secret %s/%s: data[%s]: %w", s.Namespace, s.Name, corev1.DockerConfigKey, err)
			}
		default:
			continue
		}
		for key, a := range auths {
			if !fits(key, image) {
				continue
			}
			auth := driver.RegistryAuth{Username: a.Username, Password: a.Password, IdentityToken: a.IdentityToken}
			if a.Auth != "" && a.Username == "" {
				raw, err := base64.StdEncoding.DecodeString(strings.TrimRight(a.Auth, "\x00"))
				if err != nil {
					return nil, fmt.Errorf("pull secret %s/%s: auth of %s: %w", s.Namespace, s.Name, key, err)
				}
				auth.Username, auth.Password, _ = strings.Cut(string(raw), ":")
			}
			found = append(found, match{key, auth})
		}
	}
	sort.SliceStable(found, func(i, j int) bool { return len(found[i].key) > len(found[j].key) })
	out := make([]driver.RegistryAuth, 0, len(found))
	for _, m := range found {
		out = append(out, m.auth)
	}
	return out, nil
}

// fits reports whether a key of a docker configuration, such as "https://index.docker.io/v1/",
// "*.example.com" or "example.com/team", is for the image.
func fits(key string, image reference.Named) bool {
	key = strings.TrimPrefix(strings.TrimPrefix(key, "https://"), "http://")
	host, p, _ := strings.Cut(key, "/")
	p = strings.Trim(p, "/")
	domain := reference.Domain(image)
	if domain == "docker.io" && (host == "index.docker.io" || host == "registry-1.docker.io" || host == "docker.io") {
		if p == "v1" || p == "v2" {
			return true
		}
		host = domain
	}
	want, have := strings.Split(host, "."), strings.Split(domain, ".")
	if len(want) != len(have) {
		return false
	}
	for i := range want {
		if ok, err := path.Match(want[i], have[i]); err != nil || !ok {
			return false
		}
	}
	repo := reference.Path(image)
	return p == "" || p == "v1" || p == "v2" || repo == p || strings.HasPrefix(repo, p+"/")
}
