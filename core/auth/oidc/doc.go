// Package oidc authenticates by ID tokens of OpenID Connect providers, as upstream's
// structured authentication configuration describes them: claims become a user by names or by
// CEL expressions. Keys are fetched from the provider and checked by a library.
//
// It must not know where the configuration is kept.
package oidc
