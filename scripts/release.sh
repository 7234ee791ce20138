# bash scripts/release.sh version | publish: what the release workflow runs.
set -eu
case $1 in
  version)
    npx changeset version
    npm install --package-lock-only
    ;;
  publish)
    # Provenance is only accepted for a package that names the repository it was built from.
    npm pkg set repository.type=git "repository.url=git+$GITHUB_SERVER_URL/$GITHUB_REPOSITORY.git"
    npx changeset publish
    ;;
esac
