package config

import (
	"fmt"
	"path/filepath"
	"time"
)

// Access configures who gets in and what is kept of it. Files are named by absolute paths or
// relative to the configuration file.
type Access struct {
	// AuthenticationConfig is a file in upstream's format (apiserver.config.k8s.io/v1
	// AuthenticationConfiguration): OpenID Connect issuers, and which paths anonymous
	// requests may be for, which overrides api.anonymous. Changes of its issuers take
	// effect at once.
	AuthenticationConfig string `json:"authenticationConfig"`
	// AuthorizationConfig is a file in upstream's format (AuthorizationConfiguration):
	// authorizers of the types Node, RBAC and Webhook, in order. Changes take effect at
	// once. Empty: Node, then RBAC.
	AuthorizationConfig string `json:"authorizationConfig"`
	// BootstrapTokens lets in those who present a token of a secret of type
	// bootstrap.kubernetes.io/token in kube-system.
	BootstrapTokens bool `json:"bootstrapTokens"`
	// TokenWebhook asks a server about bearer tokens that nobody else knows.
	TokenWebhook TokenWebhook `json:"tokenWebhook"`
	// AuthenticationPlugins and AuthorizationPlugins are asked in this order.
	AuthenticationPlugins []AuthenticationPlugin `json:"authenticationPlugins"`
	AuthorizationPlugins  []AuthorizationPlugin  `json:"authorizationPlugins"`
	// RequestHeader believes front proxies about who a request is from.
	RequestHeader RequestHeader `json:"requestHeader"`
	// ServiceAccountIssuer is the "iss" of service-account tokens, a URL. Empty:
	// https://kubernetes.default.svc.cluster.local. A change voids all tokens.
	ServiceAccountIssuer string `json:"serviceAccountIssuer"`
	// Audit keeps a log of requests.
	Audit Audit `json:"audit"`
}

// TokenWebhook names a server that answers TokenReviews (authentication.k8s.io/v1).
type TokenWebhook struct {
	// ConfigFile is a kubeconfig that names the server.
	ConfigFile string `json:"configFile"`
	// CacheTTL is how long answers are remembered, 2m where it is not set.
	CacheTTL Duration `json:"cacheTTL"`
}

// RequestHeader says whom to take for a front proxy and where it puts the user. It is off
// without ClientCA.
type RequestHeader struct {
	// ClientCA is a file with the certificates that sign front proxies' certificates.
	ClientCA string `json:"clientCA"`
	// AllowedNames are the common names that front proxies may have; empty allows any.
	AllowedNames []string `json:"allowedNames"`
	// UsernameHeaders, GroupHeaders and UIDHeaders are headers with the user's name, groups
	// and UID; ExtraHeaderPrefixes are what those with the rest begin with.
	UsernameHeaders     []string `json:"usernameHeaders"`
	GroupHeaders        []string `json:"groupHeaders"`
	UIDHeaders          []string `json:"uidHeaders"`
	ExtraHeaderPrefixes []string `json:"extraHeaderPrefixes"`
}

// Audit says which requests are recorded and where. It is off without PolicyFile.
type Audit struct {
	// PolicyFile is a file in upstream's format (audit.k8s.io/v1 Policy).
	PolicyFile string       `json:"policyFile"`
	Log        AuditLog     `json:"log"`
	Webhook    AuditWebhook `json:"webhook"`
}

// AuditLog is a file with one event per line.
type AuditLog struct {
	// Path of the file; "-" is standard output.
	Path string `json:"path"`
	// MaxAge in days and MaxBackups in number that old files are kept for; 0 is for ever.
	MaxAge     int `json:"maxAge"`
	MaxBackups int `json:"maxBackups"`
	// MaxSize in megabytes of a file; 0 means 100.
	MaxSize int `json:"maxSize"`
	// Strict refuses requests whose first event can't be written, as upstream's mode
	// blocking-strict does.
	Strict   bool          `json:"strict"`
	Truncate AuditTruncate `json:"truncate"`
}

// AuditTruncate bounds events: larger ones lose the objects in them.
type AuditTruncate struct {
	Enabled bool `json:"enabled"`
	// MaxEventSize of an event as JSON, 100Ki where it is not set.
	MaxEventSize Bytes `json:"maxEventSize"`
}

// AuditWebhook is a server that takes lists of events.
type AuditWebhook struct {
	// ConfigFile is a kubeconfig that names the server.
	ConfigFile string `json:"configFile"`
	// MaxWait is how long an event waits for others to be sent with, 30s where it is not
	// set.
	MaxWait  Duration      `json:"maxWait"`
	Truncate AuditTruncate `json:"truncate"`
}

func defaultRequestHeader() RequestHeader {
	return RequestHeader{
		UsernameHeaders: []string{"X-Remote-User"}, GroupHeaders: []string{"X-Remote-Group"},
		UIDHeaders: []string{"X-Remote-Uid"}, ExtraHeaderPrefixes: []string{"X-Remote-Extra-"},
	}
}

// resolve makes the paths of files absolute; base is the configuration file's directory.
func (a *Access) resolve(base string) error {
	for key, file := range map[string]*string{
		"authenticationConfig": &a.AuthenticationConfig, "authorizationConfig": &a.AuthorizationConfig,
		"tokenWebhook.configFile": &a.TokenWebhook.ConfigFile, "requestHeader.clientCA": &a.RequestHeader.ClientCA,
		"audit.policyFile": &a.Audit.PolicyFile, "audit.log.path": &a.Audit.Log.Path, "audit.webhook.configFile": &a.Audit.Webhook.ConfigFile,
	} {
		if *file == "" || *file == "-" || filepath.IsAbs(*file) {
			continue
		}
		abs, err := filepath.Abs(filepath.Join(base, *file))
		if err != nil {
			return fmt.Errorf("api.%s: %w", key, err)
		}
		*file = abs
	}
	return nil
}

func (a *Access) validate() error {
	if err := a.validatePlugins(); err != nil {
		return err
	}
	if t := a.TokenWebhook; t.ConfigFile == "" && t.CacheTTL != 0 {
		return fmt.Errorf("api.tokenWebhook.configFile: is required where cacheTTL is set")
	} else if t.CacheTTL < 0 {
		return fmt.Errorf("api.tokenWebhook.cacheTTL: %v is negative", time.Duration(t.CacheTTL))
	}
	if r := a.RequestHeader; r.ClientCA != "" && len(r.UsernameHeaders) == 0 {
		return fmt.Errorf("api.requestHeader.usernameHeaders: must not be empty where clientCA is set")
	} else if r.ClientCA == "" && len(r.AllowedNames) > 0 {
		return fmt.Errorf("api.requestHeader.clientCA: is required where allowedNames is set")
	}
	au := a.Audit
	sink := au.Log.Path != "" || au.Webhook.ConfigFile != ""
	switch {
	case au.PolicyFile == "" && sink:
		return fmt.Errorf("api.audit.policyFile: is required where log or webhook is set")
	case au.PolicyFile != "" && !sink:
		return fmt.Errorf("api.audit: log.path or webhook.configFile is required where policyFile is set")
	}
	for key, n := range map[string]int{"maxAge": au.Log.MaxAge, "maxBackups": au.Log.MaxBackups, "maxSize": au.Log.MaxSize} {
		if n < 0 {
			return fmt.Errorf("api.audit.log.%s: %d is negative", key, n)
		}
		if n > 0 && au.Log.Path == "" {
			return fmt.Errorf("api.audit.log.path: is required where %s is set", key)
		}
	}
	if au.Log.Strict && au.Log.Path == "" {
		return fmt.Errorf("api.audit.log.path: is required where strict is set")
	}
	for key, t := range map[string]AuditTruncate{"log": au.Log.Truncate, "webhook": au.Webhook.Truncate} {
		if t.MaxEventSize < 0 || t.MaxEventSize != 0 && !t.Enabled {
			return fmt.Errorf("api.audit.%s.truncate.maxEventSize: %d needs enabled, and must not be negative", key, t.MaxEventSize)
		}
	}
	if au.Webhook.MaxWait < 0 {
		return fmt.Errorf("api.audit.webhook.maxWait: %v is negative", time.Duration(au.Webhook.MaxWait))
	}
	return nil
}
