//! firesteel-deploy
