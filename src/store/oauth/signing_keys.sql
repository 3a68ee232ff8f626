-- All signing keys: a handful.
SELECT k.kid, k.alg, k.active_at, k.private_key
  FROM auth.signing_keys AS k
 ORDER BY k.active_at DESC, k.created_at DESC
