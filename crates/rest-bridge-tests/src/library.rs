//! The service behind the tests: it shows what reached it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio_stream::Stream;
use tonic::{Code, Request, Response, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt as _};

use crate::testing::library_server::Library;
use crate::testing::{
    Book, Count, CreateBookRequest, Everything, Genre, GetBookRequest, ListBooksRequest, ListBooksResponse,
    NamedRequest, Nothing, ScalarsRequest, UpdateBookRequest, UpdateBookResponse, WatchBooksRequest,
};

/// Answers every call from the request alone, and counts the calls that were given up.
#[derive(Debug, Clone, Default)]
pub struct Shelves {
    /// Calls dropped before they ended.
    pub dropped: Arc<AtomicUsize>,
}

/// Counts its drop.
struct Guard(Arc<AtomicUsize>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

type Books = std::pin::Pin<Box<dyn Stream<Item = Result<Book, Status>> + Send>>;

fn book(id: &str) -> Book {
    Book {
        id: id.to_owned(),
        title: format!("Book {id}"),
        genre: Genre::Fiction.into(),
        pages: 320,
        reads: 9_007_199_254_740_993,
        created_at: Some(prost_types::Timestamp { seconds: 1_767_225_600, nanos: 250_000_000 }),
        tags: vec!["a".to_owned(), "b".to_owned()],
        rating: None,
    }
}

/// The failure that an id asks for.
fn failure(id: &str) -> Option<Status> {
    let mut details = ErrorDetails::new();
    let (code, message) = match id {
        "missing" => {
            details.set_error_info("BOOK_NOT_FOUND", "library", HashMap::from([("shelf".into(), "x".into())]));
            (Code::NotFound, "There is no such book.")
        }
        "broken" => {
            details.set_error_info("DISK", "library", HashMap::from([("disk".into(), "/dev/sda".into())]));
            details.set_bad_request(vec![FieldViolation::new("secret", "inside")]);
            (Code::Internal, "disk /dev/sda failed")
        }
        "busy" => {
            details.set_retry_info(Some(Duration::from_millis(1200)));
            details.set_request_info("req-7", "");
            (Code::ResourceExhausted, "Too many.")
        }
        "odd" => {
            details.set_error_info("ODD", "library", HashMap::new());
            details.set_bad_request(vec![FieldViolation {
                field: "id".into(),
                description: "is odd".into(),
                reason: "ODD_ID".into(),
                localized_message: None,
            }]);
            (Code::InvalidArgument, "The id is odd.")
        }
        _ => return None,
    };
    let mut status = Status::with_error_details(code, message, details);
    status.metadata_mut().insert("ratelimit", tonic::metadata::MetadataValue::from_static("\"a\";r=0"));
    status.metadata_mut().insert("internal", tonic::metadata::MetadataValue::from_static("secret"));
    Some(status)
}

#[tonic::async_trait]
impl Library for Shelves {
    type WatchBooksStream = Books;
    type TailStream = Books;

    async fn create_book(&self, request: Request<CreateBookRequest>) -> Result<Response<Book>, Status> {
        let seen: Vec<String> = request
            .metadata()
            .keys()
            .map(|key| match key {
                tonic::metadata::KeyRef::Ascii(key) => key.to_string(),
                tonic::metadata::KeyRef::Binary(key) => key.to_string(),
            })
            .collect();
        let request = request.into_inner();
        let book = Book { title: request.title, genre: request.genre, tags: request.tags, ..book(&request.shelf) };
        let mut response = Response::new(book);
        let seen =
            tonic::metadata::MetadataValue::try_from(seen.join(" ")).map_err(|_| Status::internal("metadata"))?;
        response.metadata_mut().insert("x-request-id", seen);
        response.metadata_mut().insert("internal", tonic::metadata::MetadataValue::from_static("secret"));
        Ok(response)
    }

    async fn get_book(&self, request: Request<GetBookRequest>) -> Result<Response<Book>, Status> {
        let request = request.into_inner();
        match failure(&request.id) {
            Some(status) => Err(status),
            None if request.id == "never" => {
                let _guard = Guard(Arc::clone(&self.dropped));
                std::future::pending().await
            }
            None if request.id == "huge" => Ok(Response::new(Book { title: "x".repeat(5 << 20), ..book("huge") })),
            None if request.id == "late" => Ok(Response::new(Book {
                created_at: Some(prost_types::Timestamp { seconds: i64::MAX, nanos: 0 }),
                ..book("late")
            })),
            None => Ok(Response::new(Book { tags: vec![request.shelf], ..book(&request.id) })),
        }
    }

    async fn list_books(&self, request: Request<ListBooksRequest>) -> Result<Response<ListBooksResponse>, Status> {
        let token = format!("{:?}", request.into_inner());
        Ok(Response::new(ListBooksResponse { books: vec![book("1")], next_page_token: token }))
    }

    async fn watch_books(&self, request: Request<WatchBooksRequest>) -> Result<Response<Books>, Status> {
        let WatchBooksRequest { cursor, fail_after } = request.into_inner();
        if let Some(status) = failure(&cursor) {
            return Err(status);
        }
        let ids = [format!("{cursor}1"), format!("{cursor}2")];
        let mut items: Vec<Result<Book, Status>> = ids.iter().map(|id| Ok(book(id))).collect();
        if let Ok(at @ 1..) = usize::try_from(fail_after) {
            items.truncate(at);
            items.extend(failure("missing").map(Err));
        }
        if cursor != "silent" {
            return Ok(Response::new(Box::pin(tokio_stream::iter(items))));
        }
        let guard = Guard(Arc::clone(&self.dropped));
        let never = tokio_stream::StreamExt::map(tokio_stream::pending(), move |item: Result<Book, Status>| {
            let _ = &guard;
            item
        });
        Ok(Response::new(Box::pin(tokio_stream::StreamExt::chain(tokio_stream::iter(items), never))))
    }

    async fn tail(&self, request: Request<WatchBooksRequest>) -> Result<Response<Books>, Status> {
        self.watch_books(request).await
    }

    async fn update_book(&self, request: Request<UpdateBookRequest>) -> Result<Response<UpdateBookResponse>, Status> {
        let UpdateBookRequest { book, changes, dry_run } = request.into_inner();
        let id = book.map(|book| book.id).unwrap_or_default();
        let book = changes.map(|changes| Book { id, pages: i32::from(dry_run), ..changes });
        Ok(Response::new(UpdateBookResponse { book }))
    }

    async fn delete_book(&self, request: Request<GetBookRequest>) -> Result<Response<()>, Status> {
        failure(&request.into_inner().id).map_or(Ok(Response::new(())), Err)
    }

    async fn print_book(&self, request: Request<GetBookRequest>) -> Result<Response<Nothing>, Status> {
        failure(&request.into_inner().id).map_or(Ok(Response::new(Nothing {})), Err)
    }

    async fn count_books(&self, _: Request<()>) -> Result<Response<Count>, Status> {
        Ok(Response::new(Count { count: u64::MAX }))
    }

    async fn get_named(&self, request: Request<NamedRequest>) -> Result<Response<NamedRequest>, Status> {
        Ok(Response::new(request.into_inner()))
    }

    async fn get_file(&self, request: Request<NamedRequest>) -> Result<Response<NamedRequest>, Status> {
        Ok(Response::new(request.into_inner()))
    }

    async fn echo(&self, request: Request<Everything>) -> Result<Response<Everything>, Status> {
        Ok(Response::new(request.into_inner()))
    }

    async fn scalars(&self, request: Request<ScalarsRequest>) -> Result<Response<ScalarsRequest>, Status> {
        Ok(Response::new(request.into_inner()))
    }

    async fn free(&self, request: Request<prost_types::Struct>) -> Result<Response<prost_types::Struct>, Status> {
        Ok(Response::new(request.into_inner()))
    }

    async fn hidden(&self, _: Request<()>) -> Result<Response<()>, Status> {
        Ok(Response::new(()))
    }
}
