// Package structured reads upstream's configuration files of authentication and authorization
// (apiserver.config.k8s.io: AuthenticationConfiguration, AuthorizationConfiguration), makes
// what they describe, and makes it anew when they change. A file that is no good changes
// nothing.
//
// It must not know how requests are served.
package structured
